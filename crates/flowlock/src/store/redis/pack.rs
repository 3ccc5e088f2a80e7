//! Commands as bytes.

use redis::Cmd;

use super::script::{Call, Script};

/// Packs a command with these words.
pub(super) fn arguments(words: &[&[u8]]) -> Vec<u8> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.get_packed_command()
}

/// How a script is identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// By its digest: the server has it in most cases.
    BySha,
    /// By its whole text: the server knows the digest afterwards.
    BySource,
}

/// Packs the command that runs a script.
pub(super) fn eval(script: &Script, named: Named, call: &Call<'_>) -> Vec<u8> {
    let (name, body) = match named {
        Named::BySha => ("EVALSHA", script.sha()),
        Named::BySource => ("EVAL", script.source()),
    };
    let variable = || call.keys.iter().chain(call.args);
    let room = name.len() + body.len() + variable().map(Vec::len).sum::<usize>() + 8;
    let mut command = Cmd::with_capacity(3 + variable().count(), room);
    command.arg(name).arg(body).arg(call.keys.len());
    for word in variable() {
        command.arg(word.as_slice());
    }
    command.get_packed_command()
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
