//! The answers of the fast paths (`lua/short/`). They are packed, because every list in an answer costs
//! the server half a microsecond.
//!
//! An answer has the epoch as text; as doubles the sequence number, the clock and how often another
//! primary took over; then a letter:
//!
//! | letter | what follows | stands for |
//! |---|---|---|
//! | `c` | | committed |
//! | `h` | the lease of each run | refreshed |
//! | `w` | the ticket that the next page begins with, or zeros; for each run `Q` or `A`, its id, NUL | heard |
//! | `r` | token, what is left of the lease | running; where there are inputs, the text is the first of a list, and name, version and record of each follow |

use redis::Value;

use super::rows::TICKET;

/// The length of the epoch, with which other answers also begin.
const EPOCH: usize = 16;

/// A run that is queued, in its row and here.
pub(super) const QUEUED: u8 = b'Q';
/// A run that awaits input.
pub(super) const AWAITING_INPUT: u8 = b'A';

/// Unpacks a packed answer to what the full engine would answer; returns any other as it is. `None` if
/// it is invalid.
pub(super) fn spelled_out(value: Value) -> Option<Value> {
    match value {
        Value::BulkString(text) => spell(&text, Vec::new()),
        Value::Array(mut parts) => match parts.first() {
            Some(Value::BulkString(text)) if text.len() > EPOCH => {
                let told = parts.split_off(1);
                let Value::BulkString(text) = parts.remove(0) else { return None };
                spell(&text, told)
            }
            _ => Some(Value::Array(parts)),
        },
        other => Some(other),
    }
}

fn spell(text: &[u8], told: Vec<Value>) -> Option<Value> {
    let (epoch, rest) = text.split_at_checked(EPOCH)?;
    let mut rest = Packed(rest);
    let (sequence, now, takeovers) = (rest.number()?, rest.number()?, rest.number()?);
    let letter = rest.byte()?;
    let answer = match letter {
        b'c' => list([word("ended"), word("committed"), Value::Int(0)]),
        b'h' => Value::Array(std::iter::from_fn(|| rest.number()).map(held).collect()),
        b'w' => heard(&mut rest)?,
        b'r' => list([word("running"), rest.number()?, rest.number()?, inputs(told)?]),
        _ => return None,
    };
    if !rest.0.is_empty() {
        return None;
    }
    Some(list([Value::BulkString(epoch.to_vec()), sequence, now, answer, takeovers]))
}

fn held(lease: Value) -> Value {
    list([word("held"), lease, Value::Int(0)])
}

fn heard(rest: &mut Packed<'_>) -> Option<Value> {
    let (next, mut runs) = rest.0.split_at_checked(TICKET)?;
    let mut heard = Vec::new();
    while let Some((letter, more)) = runs.split_first() {
        let (id, behind) = more.split_at_checked(more.iter().position(|byte| *byte == 0)?)?;
        let state = match *letter {
            QUEUED => "queued",
            AWAITING_INPUT => "awaiting_input",
            _ => return None,
        };
        heard.push(list([
            Value::BulkString(id.to_vec()),
            list([word("still_waiting"), word(state), Value::Int(1)]),
        ]));
        runs = behind.split_first()?.1;
    }
    rest.0 = runs;
    let next = if next == [b'0'; TICKET] { Value::Nil } else { Value::BulkString(next.to_vec()) };
    Some(list([Value::Array(heard), next]))
}

fn inputs(told: Vec<Value>) -> Option<Value> {
    if !told.len().is_multiple_of(3) {
        return None;
    }
    let mut told = told.into_iter();
    let mut inputs = Vec::new();
    while let Some(name) = told.next() {
        inputs.push(list([name, told.next()?, told.next()?]));
    }
    Some(Value::Array(inputs))
}

fn word(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn list<const N: usize>(parts: [Value; N]) -> Value {
    Value::Array(parts.into())
}

struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    /// Returns the next double, which must be a whole number; `None` at the end.
    fn number(&mut self) -> Option<Value> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        // An out-of-range value saturates, and is refused when it is used.
        Some(Value::Int(f64::from_be_bytes(*bytes) as i64))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(rest: &[u8]) -> Vec<u8> {
        [&[7; EPOCH][..], &[3.0_f64, 1_000.0, 0.0].map(f64::to_be_bytes).concat(), rest].concat()
    }

    fn whole(answer: Value) -> Value {
        let epoch = Value::BulkString(vec![7; EPOCH]);
        list([epoch, Value::Int(3), Value::Int(1_000), answer, Value::Int(0)])
    }

    #[test]
    fn packed_answers_are_spelled_out() {
        let spell = |rest: &[u8]| spelled_out(Value::BulkString(packed(rest))).unwrap();
        assert_eq!(spell(b"c"), whole(list([word("ended"), word("committed"), Value::Int(0)])));
        let leases = [b"h".to_vec(), [60_000.0_f64, 1_000.0].map(f64::to_be_bytes).concat()].concat();
        assert_eq!(spell(&leases), whole(list([held(Value::Int(60_000)), held(Value::Int(1_000))])));
        let run = |id, state| list([word(id), list([word("still_waiting"), word(state), Value::Int(1)])]);
        assert_eq!(
            spell(b"w0000000000000009Qa.1\0Ab.2\0"),
            whole(list([
                list([run("a.1", "queued"), run("b.2", "awaiting_input")]),
                word("0000000000000009")
            ]))
        );
        assert_eq!(
            spell(b"w0000000000000000Qa.1\0"),
            whole(list([list([run("a.1", "queued")]), Value::Nil]))
        );
        let running = [b"r".to_vec(), [17.0_f64, 500.0].map(f64::to_be_bytes).concat()].concat();
        let none = list([word("running"), Value::Int(17), Value::Int(500), Value::Array(Vec::new())]);
        assert_eq!(spell(&running), whole(none));
        let input = [word("x"), Value::Int(9), word("raw")];
        let told = [vec![Value::BulkString(packed(&running))], input.to_vec()].concat();
        let one = list([word("running"), Value::Int(17), Value::Int(500), list([list(input)])]);
        assert_eq!(spelled_out(Value::Array(told)), Some(whole(one)));
    }

    #[test]
    fn whatever_is_not_packed_in_this_way_is_refused() {
        for rest in
            [&b""[..], b"x", b"c1", b"h1", b"w", b"w0000000000000000Qa.1", b"w0000000000000000Xa.1\0", b"r1"]
        {
            assert_eq!(spelled_out(Value::BulkString(packed(rest))), None, "{}", rest.escape_ascii());
        }
        assert_eq!(spelled_out(Value::BulkString(b"short".to_vec())), None);
        let long = list([Value::BulkString(vec![7; EPOCH]), Value::Int(1)]);
        assert_eq!(spelled_out(long.clone()), Some(long));
    }
}
