use super::*;

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.into(), port }
}

fn read(url: &str) -> Options {
    Options::parse(url).unwrap_or_else(|problem| panic!("{url}: {problem}"))
}

#[test]
fn every_form_names_its_servers() {
    let table: [(&str, Deployment, u32, bool); 14] = [
        ("redis://h", Deployment::One(tcp("h", 6379)), 0, false),
        ("valkey://h:7000/3", Deployment::One(tcp("h", 7000)), 3, false),
        ("REDIS://h/", Deployment::One(tcp("h", 6379)), 0, false),
        ("redis://[::1]:7000/65535", Deployment::One(tcp("::1", 7000)), 65_535, false),
        ("rediss://[fe80::1]", Deployment::One(tcp("fe80::1", 6379)), 0, true),
        ("valkeys://h", Deployment::One(tcp("h", 6379)), 0, true),
        ("redis://h?db=4", Deployment::One(tcp("h", 6379)), 4, false),
        ("redis+unix:///run/r%20s.sock", Deployment::One(Address::Unix("/run/r s.sock".into())), 0, false),
        ("valkey+unix://:pw@/r.sock?db=2", Deployment::One(Address::Unix("/r.sock".into())), 2, false),
        (
            "redis+sentinel://a,b:5,[::1]/mymaster",
            Deployment::Sentinel {
                sentinels: vec![tcp("a", 26379), tcp("b", 5), tcp("::1", 26379)],
                master: "mymaster".into(),
            },
            0,
            false,
        ),
        (
            "valkeys+sentinel://a/m%2Fn/7",
            Deployment::Sentinel { sentinels: vec![tcp("a", 26379)], master: "m/n".into() },
            7,
            true,
        ),
        ("redis+cluster://a,b:5", Deployment::Cluster(vec![tcp("a", 6379), tcp("b", 5)]), 0, false),
        ("valkey+cluster://a/0", Deployment::Cluster(vec![tcp("a", 6379)]), 0, false),
        ("rediss+cluster://a/", Deployment::Cluster(vec![tcp("a", 6379)]), 0, true),
    ];
    for (url, deployment, db, tls) in table {
        let options = read(url);
        assert_eq!((options.deployment, options.db, options.tls.is_some()), (deployment, db, tls), "{url}");
    }
}

#[test]
fn user_and_password_are_decoded_and_never_shown() {
    let options = read("redis://m%40e:p%2Fw%25@h:1/2?failover_pause=0s");
    assert_eq!(options.user.as_deref(), Some("m@e"));
    assert_eq!(options.password, Some(Password::Given(Secret::new("p/w%"))));
    assert_eq!(options.shown(), "redis://m%40e:***@h:1/2?failover_pause=0s");
    assert!(options.has_password_in_url());
    assert!(!format!("{options:?}").contains("p/w"), "{options:?}");
    assert_eq!(read("redis://:pw@h").shown(), "redis://:***@h");
    assert_eq!(read("redis://h/1").shown(), "redis://h/1");
}

#[test]
fn a_password_file_is_read_anew_each_time_and_its_path_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pw");
    std::fs::write(&path, "first\n").unwrap();
    let url = format!("redis://me@h?password_file={}", path.display());
    let options = read(&url);
    let password = options.password.clone().unwrap();
    assert_eq!(password.read().unwrap().reveal(), "first");
    std::fs::write(&path, "second\r\n").unwrap();
    assert_eq!(password.read().unwrap().reveal(), "second");
    assert!(!options.has_password_in_url());
    assert_eq!(options.shown(), url);

    std::fs::write(&path, "\n").unwrap();
    let said = Options::parse(&url).unwrap_err();
    assert!(said.ends_with("pw is empty; write the password into it"), "{said}");
    std::fs::remove_file(&path).unwrap();
    let said = Options::parse(&url).unwrap_err();
    assert!(said.starts_with("cannot read the password file /"), "{said}");
}

#[test]
fn durability_and_pause_have_their_limits() {
    assert_eq!(read("redis://h").durability, Durability::None);
    assert_eq!(read("redis://h?durability=none").durability, Durability::None);
    let two = Durability::Replicas { count: 2, within: Duration::from_millis(500) };
    assert_eq!(read("redis://h?durability=replicas(2,500)").durability, two);
    assert_eq!(read("redis://h?durability=replicas%282%2C500%29").durability, two);
    for bad in ["", "some", "replicas", "replicas(0,5)", "replicas(1,0)", "replicas(1)", "replicas(1,600001)"]
    {
        let said = Options::parse(&format!("redis://h?durability={bad}")).unwrap_err();
        assert!(said.contains("durability "), "{bad}: {said}");
    }
    assert_eq!(read("redis://h").failover_pause, Duration::from_secs(10));
    for (text, ms) in [("0s", 0), ("500ms", 500), ("10m", 600_000), ("2min", 120_000)] {
        assert_eq!(read(&format!("redis://h?failover_pause={text}")).failover_pause.as_millis(), ms);
    }
    for bad in ["10", "s", "-1s", "601s", "1h", "1é", "99999999999999999999s", "18446744073709551615m"] {
        let said = Options::parse(&format!("redis://h?failover_pause={bad}")).unwrap_err();
        assert_eq!(said, "failover_pause must be a duration from 0s to 10m, such as 10s or 500ms", "{bad}");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let table = [
        ("h:1", "it has no \"://\""),
        ("mysql://h", "unknown scheme"),
        ("redis+foo://h", "only unix, sentinel or cluster"),
        ("rediss+unix:///s", "a unix socket has no TLS"),
        ("redis://", "a host is empty"),
        ("redis://:6379", "a host is empty"),
        ("redis+cluster://a,,b", "a host is empty"),
        ("redis://a,b", "several hosts"),
        ("redis://h:0", "a port is not a number from 1 to 65535"),
        ("redis://h:65536", "a port is not a number"),
        ("redis://h:", "a port is not a number"),
        ("redis://::1:5", "must be in brackets"),
        ("redis://[::1", "no closing bracket"),
        ("redis://[x]:1", "not an IPv6 address"),
        ("redis://[::1]x", "only :PORT"),
        ("redis://h/x", "not a number from 0 to 65535"),
        ("redis://h/65536", "not a number from 0 to 65535"),
        ("redis://h/1?db=1", "given twice, in the path and as db="),
        ("redis+cluster://h/1", "only database 0"),
        ("redis+cluster://h?db=1", "only database 0"),
        ("redis+sentinel://h", "the master name is missing"),
        ("redis+sentinel://h/", "the master name is missing"),
        ("redis+unix://s", "three slashes"),
        ("redis+unix:///", "three slashes"),
        ("redis://h?colour=red", "unknown parameter"),
        ("redis://h?db=1&db=2", "the parameter db is given twice"),
        ("redis://h?password_file=", "the parameter password_file is empty"),
        ("redis://me@h", "the user has no password"),
        ("redis://h?sentinel_user=x", "the sentinel_user has no password"),
        ("redis://h?ca=/etc/hostname", "need TLS; use rediss://"),
        ("rediss://h?cert=/etc/hostname", "add key=PATH"),
        ("rediss://h?key=/etc/hostname", "add cert=PATH"),
        ("rediss://h?ca=/no/such", "cannot read ca /no/such"),
        ("redis://:a@h?password_file=/etc/hostname", "leave the password out"),
        ("redis://:%zz@h", "the password is not percent-encoded UTF-8"),
        ("redis://:%ff@h", "the password is not percent-encoded UTF-8"),
    ];
    for (url, problem) in table {
        let said = Options::parse(url).unwrap_err();
        assert!(said.contains(problem), "{url}: {said}");
    }
}

#[test]
fn a_password_in_the_wrong_place_is_not_repeated() {
    for url in [
        "redis://:hunter2/x@h",
        "redis://me:hunter2?x@h",
        "redis://me:x#hunter2@h",
        "redis://me:hunter2@h:0",
        "redis://h:hunter2",
        "redis://hunter2:hunter2/@h",
        "hunter2:hunter2@h",
    ] {
        let said = Options::parse(url).unwrap_err();
        assert!(!said.contains("hunter2"), "{url}: {said}");
    }
}
