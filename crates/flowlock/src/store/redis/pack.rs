//! Commands as bytes.

use super::script::{Call, Script};

/// A command of these words.
pub(super) fn arguments(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room(arguments.iter().copied()));
    begin(&mut bytes, arguments.len());
    for word in arguments {
        push(&mut bytes, word);
    }
    bytes
}

/// How a script is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// By its digest: the server has it in most cases.
    BySha,
    /// By its whole text: the server knows the digest afterwards.
    BySource,
}

/// The command that runs a script.
pub(super) fn eval(script: &Script, named: Named, call: &Call<'_>) -> Vec<u8> {
    let (name, body) = match named {
        Named::BySha => (&b"EVALSHA"[..], script.sha()),
        Named::BySource => (&b"EVAL"[..], script.source()),
    };
    let variable = call.keys.iter().chain(call.args).map(Vec::as_slice);
    let mut bytes = Vec::with_capacity(room(variable.clone()) + body.len() + 64);
    begin(&mut bytes, 3 + call.keys.len() + call.args.len());
    push(&mut bytes, name);
    push(&mut bytes, body.as_bytes());
    push(&mut bytes, call.keys.len().to_string().as_bytes());
    for word in variable {
        push(&mut bytes, word);
    }
    bytes
}

fn room<'w>(arguments: impl Iterator<Item = &'w [u8]>) -> usize {
    16 + arguments.map(|word| word.len() + 16).sum::<usize>()
}

fn begin(bytes: &mut Vec<u8>, count: usize) {
    bytes.push(b'*');
    number(bytes, count);
}

fn push(bytes: &mut Vec<u8>, word: &[u8]) {
    bytes.push(b'$');
    number(bytes, word.len());
    bytes.extend_from_slice(word);
    bytes.extend_from_slice(b"\r\n");
}

/// A number and the end of its line, without the cost of the formatting machinery.
fn number(bytes: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_by_its_digest_or_its_text() {
        let script = Script::new("return 1".into());
        let (keys, args) = (vec![b"k".to_vec()], vec![b"".to_vec(), b"0123456789".to_vec()]);
        let call = Call { tag: "t", script: &script, keys: &keys, args: &args, most: 0, replicas: None };
        let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(
            String::from_utf8(eval(&script, Named::BySha, &call)).unwrap(),
            format!(
                "*6\r\n$7\r\nEVALSHA\r\n$40\r\n{sha}\r\n$1\r\n1\r\n$1\r\nk\r\n$0\r\n\r\n$10\r\n0123456789\r\n"
            )
        );
        assert_eq!(
            String::from_utf8(eval(&script, Named::BySource, &call)).unwrap(),
            "*6\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n$0\r\n\r\n$10\r\n0123456789\r\n"
        );
        assert_eq!(arguments(&[b"PING"]), b"*1\r\n$4\r\nPING\r\n");
    }
}
