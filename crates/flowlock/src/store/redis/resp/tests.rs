use super::*;

/// Returns a fixed number of bytes at a time.
pub(in crate::store::redis) struct Drops<'b>(
    pub(in crate::store::redis) &'b [u8],
    pub(in crate::store::redis) usize,
);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(buffer.len());
        let (now, later) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn all(bytes: &[u8], at_once: usize) -> (Vec<Value>, ErrorKind) {
    let (mut from, mut replies, mut values) = (Drops(bytes, at_once), Replies::new(), Vec::new());
    loop {
        match replies.next(&mut from, 1 << 20) {
            Ok(value) => values.push(value),
            Err(error) => return (values, error.kind()),
        }
    }
}

#[test]
fn replies_of_every_kind_are_read_however_they_are_cut_and_as_the_general_parser_reads_them() {
    let long = format!("${}\r\n{}\r\n", 70_000, "x\n".repeat(35_000));
    let replies: [&[u8]; 12] = [
        b"+OK\r\n",
        b"+PONG\r\n",
        b"-ERR what is this\r\n",
        b"-MOVED 12 10.0.0.1:6379\r\n",
        b":-12\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\0\xff\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n-NOSCRIPT none\r\n",
        long.as_bytes(),
    ];
    let expected: Vec<Value> = replies.iter().map(|reply| redis::parse_redis_value(reply).unwrap()).collect();
    for at_once in [1, 2, 3, 7, 4_096, 1 << 20] {
        assert_eq!(all(&replies.concat(), at_once), (expected.clone(), ErrorKind::UnexpectedEof));
    }
}

#[test]
fn a_reply_cut_by_a_deadline_is_read_from_its_beginning_when_the_rest_has_come() {
    struct Late<'b>(std::slice::Iter<'b, &'b [u8]>);
    impl Read for Late<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.next() {
                Some([]) => Err(ErrorKind::WouldBlock.into()),
                Some(bytes) => Drops(bytes, bytes.len()).read(buffer),
                None => Ok(0),
            }
        }
    }
    let pieces: [&[u8]; 9] =
        [b":1\r\n*2\r\n$3\r", b"", b"\nab", b"", b"c\r\n", b"", b"+O", b"", b"K\r\n:2\r\n"];
    let (mut from, mut replies) = (Late(pieces.iter()), Replies::new());
    let mut values = Vec::new();
    for _ in 0..7 {
        values.extend(replies.next(&mut from, SHORT).ok());
    }
    let list = Value::Array(vec![Value::BulkString(b"abc".into()), Value::Okay]);
    assert_eq!(values, [Value::Int(1), list, Value::Int(2)]);
}

#[test]
fn what_is_no_reply_is_refused_and_takes_up_no_memory() {
    let deep = "*1\r\n".repeat(40);
    let endless = format!("+{}", "x".repeat(2 * ROOM));
    let strange: [&[u8]; 11] = [
        b"HTTP/1.1 400",
        b"\x15\x03\x01",
        b"\r\n",
        b"\n",
        b":\r\n",
        b":1x\r\n",
        b":1\n",
        b"$-2\r\n",
        b"$1\r\nab\r\n",
        deep.as_bytes(),
        endless.as_bytes(),
    ];
    for bytes in strange {
        assert_eq!(all(bytes, 5), (vec![], ErrorKind::InvalidData), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_takes_up_more_than_the_question_can_need_is_refused_before_memory_is_taken() {
    struct Endless<'b>(&'b [u8], usize);
    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in &mut *buffer {
                *byte = self.0[self.1.min(self.0.len() - 1)];
                // Once through, then the last value over and over.
                self.1 = if self.1 + 1 >= self.0.len() { self.0.len() - 4 } else { self.1 + 1 };
            }
            Ok(buffer.len())
        }
    }
    let nested = format!("{}:1\r\n", "*300\r\n".repeat(20));
    let texts = format!("*1000\r\n{}:1\r\n", format!("$3000\r\n{}\r\n", "x".repeat(3_000)).repeat(50));
    let too_much: [&[u8]; 6] = [
        b"$999999999999\r\n:1\r\n",
        b"$70000\r\n:1\r\n",
        b"*2000000000\r\n:1\r\n",
        b"*60000\r\n:1\r\n",
        nested.as_bytes(),
        texts.as_bytes(),
    ];
    for bytes in too_much {
        let mut replies = Replies::new();
        let error = replies.next(&mut Endless(bytes, 0), SHORT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge, "{}", bytes[..20].escape_ascii());
        assert!(replies.buffer.len() < 4 * SHORT, "{} bytes were kept", replies.buffer.len());
    }
}
