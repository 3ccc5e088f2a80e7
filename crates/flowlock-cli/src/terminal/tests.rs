use super::json::escaped_json;
use super::*;

const PLAIN: Screen = Screen { live: false, styled: false };

#[test]
fn columns_stand_under_their_headings_whatever_the_script() {
    let mut table = Table::new(&["NAME", "JOB"]);
    table.row(&["日本", "a"]);
    table.row(&["sales.clean", ""]);
    assert_eq!(table.text(PLAIN), "NAME         JOB\n日本         a\nsales.clean\n");
}

#[test]
fn a_table_that_is_printed_in_parts_keeps_its_columns() {
    let mut table = Table::new(&["NAME", "JOB"]);
    table.row(&["sales", "a"]);
    assert_eq!(table.take(PLAIN), "NAME   JOB\nsales  a\n");
    table.row(&["b", "c"]);
    assert_eq!(table.take(PLAIN), "b      c\n");
    table.row(&["sales.clean", "d"]);
    assert_eq!(table.take(PLAIN), "sales.clean  d\n");
    assert_eq!(table.take(PLAIN), "");
}

#[test]
fn a_list_written_as_it_comes_is_the_json_of_the_whole() {
    #[derive(Serialize)]
    struct Whole<'a> {
        version: u32,
        names: &'a [serde_json::Value],
    }
    let values = [serde_json::json!({ "name": "a", "list": [1, 2] }), serde_json::json!("b")];
    for names in [&values[..0], &values[..1], &values[..]] {
        let parts = |reader| {
            let mut out = Vec::new();
            let mut list = JsonList::begin(&mut out, reader, 1, "names").unwrap();
            for name in names {
                list.extend([name]).unwrap();
            }
            list.end().unwrap();
            String::from_utf8(out).unwrap()
        };
        let whole = Whole { version: 1, names };
        assert_eq!(parts(Reader::Program), serde_json::to_string(&whole).unwrap() + "\n");
        assert_eq!(parts(Reader::Person), serde_json::to_string_pretty(&whole).unwrap() + "\n");
    }
}

#[test]
fn no_name_reaches_the_terminal_unescaped() {
    let mut table = Table::new(&["NAME"]);
    table.row(&["\u{1b}]0;owned\u{7}\r\u{202e}x\u{200b}"]);
    assert_eq!(table.text(PLAIN), "NAME\n\\x1b]0;owned\\x07\\r\\u{202e}x\\u{200b}\n");
}

#[test]
fn json_for_people_means_the_same_and_hides_nothing() {
    let text = "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{200b}\u{e0041}é日\\\"\n\t";
    let pretty = serde_json::to_string_pretty(&[text]).unwrap();
    let escaped = escaped_json(&pretty);
    assert_eq!(escaped, "[\n  \"\\u001b[2J\\u007f\\u009b\\u202e\\u200b\\udb40\\udc41é日\\\\\\\"\\n\\t\"\n]");
    assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
}

#[test]
fn headings_are_emphasized_only_where_that_is_wanted() {
    let table = Table::new(&["NAME"]);
    assert_eq!(table.clone().text(Screen { live: false, styled: true }), "\x1b[1mNAME\x1b[0m\n");
    assert_eq!(table.text(PLAIN), "NAME\n");
}

#[test]
fn a_live_line_fits_its_terminal() {
    assert_eq!(cut("waiting for a", 80), "waiting for a");
    assert_eq!(cut("waiting for sales", 9), "waiting …");
    assert_eq!(cut("日本日本", 5), "日本…");
}
