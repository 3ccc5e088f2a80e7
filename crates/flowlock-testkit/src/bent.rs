//! Inputs for fuzzing that get past a parser's first check: good ones, changed at random.

use std::ops::Range;

use bolero::Driver;
use bolero::ValueGenerator;

/// How often one input is changed, at most.
const MOST_BENDS: usize = 8;
/// How often a piece of the input is repeated, at most: enough to pass every limit of a few hundred.
const MOST_REPEATS: usize = 600;
/// The longest input, in bytes.
const LONGEST: usize = 64 << 10;
/// Numbers at the limits of number types.
const EDGES: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e309",
    "00000000000000000000001",
];

/// Makes inputs out of seeds: changes, inserts, removes and repeats bytes, replaces numbers by extreme
/// ones, and joins parts of two seeds.
///
/// ```
/// use flowlock_testkit::Bent;
///
/// bolero::check!()
///     .with_generator(Bent::new(["90s", "1h30m"], ["d", "-", "."]))
///     .for_each(|input: &Vec<u8>| drop(String::from_utf8_lossy(input).parse::<f64>()));
/// ```
#[derive(Debug, Clone)]
pub struct Bent {
    seeds: Vec<Vec<u8>>,
    pieces: Vec<Vec<u8>>,
}

impl Bent {
    /// Starts with one of `seeds` each time; `pieces` are the tokens of the language.
    pub fn new<S: AsRef<[u8]>, P: AsRef<[u8]>>(
        seeds: impl IntoIterator<Item = S>,
        pieces: impl IntoIterator<Item = P>,
    ) -> Self {
        let seeds: Vec<_> = seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect();
        assert!(!seeds.is_empty(), "without seeds every input would be noise");
        Self { seeds, pieces: pieces.into_iter().map(|piece| piece.as_ref().to_vec()).collect() }
    }

    fn bend<D: Driver>(&self, input: &mut Vec<u8>, driver: &mut D) -> Option<()> {
        match choice(driver, 9)? {
            0 if !input.is_empty() => {
                let at = choice(driver, input.len())?;
                input[at] = driver.produce()?;
            }
            1 if !self.pieces.is_empty() => {
                let piece = &self.pieces[choice(driver, self.pieces.len())?];
                insert(input, choice(driver, input.len() + 1)?, piece);
            }
            2 => drop(input.drain(range(driver, input.len())?)),
            3 => {
                let part = range(driver, input.len())?;
                let repeated = input[part.clone()].repeat(choice(driver, MOST_REPEATS)?);
                insert(input, part.end, &repeated);
            }
            4 => {
                let other = &self.seeds[choice(driver, self.seeds.len())?];
                input.truncate(choice(driver, input.len() + 1)?);
                input.extend_from_slice(&other[choice(driver, other.len() + 1)?..]);
            }
            5 => input.truncate(choice(driver, input.len() + 1)?),
            6 => insert(input, choice(driver, input.len() + 1)?, &driver.produce::<[u8; 3]>()?),
            7 => insert(
                input,
                choice(driver, input.len() + 1)?,
                EDGES[choice(driver, EDGES.len())?].as_bytes(),
            ),
            _ => {
                if let Some(digits) = some_number(input, choice(driver, input.len().max(1))?) {
                    let edge = EDGES[choice(driver, EDGES.len())?].as_bytes();
                    input.splice(digits, edge.iter().copied());
                }
            }
        }
        input.truncate(LONGEST);
        Some(())
    }
}

impl ValueGenerator for Bent {
    type Output = Vec<u8>;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Vec<u8>> {
        let mut input = self.seeds[choice(driver, self.seeds.len())?].clone();
        for _ in 0..choice(driver, MOST_BENDS + 1)? {
            self.bend(&mut input, driver)?;
        }
        Some(input)
    }
}

/// Draws a number below `count`.
fn choice<D: Driver>(driver: &mut D, count: usize) -> Option<usize> {
    Some(driver.produce::<u32>()? as usize % count)
}

fn range<D: Driver>(driver: &mut D, length: usize) -> Option<Range<usize>> {
    let (one, other) = (choice(driver, length + 1)?, choice(driver, length + 1)?);
    Some(one.min(other)..one.max(other))
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Returns the first run of digits at or after `from`.
fn some_number(input: &[u8], from: usize) -> Option<Range<usize>> {
    let begin = from + input.get(from..)?.iter().position(u8::is_ascii_digit)?;
    let length = input[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(begin..begin + length)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    /// A generator that only returned its seeds would let every test with it pass.
    #[test]
    fn seeds_come_out_whole_longer_shorter_joined_and_with_extreme_numbers() {
        let seen = Mutex::new(BTreeSet::new());
        bolero::check!()
            .with_generator(Bent::new(["abc=12", "xyz"], ["&"]))
            .with_iterations(10_000)
            .for_each(|input: &Vec<u8>| {
                seen.lock().unwrap().insert(input.clone());
            });
        let seen = seen.into_inner().unwrap();
        for expected in ["abc=12", "xyz", "abc", "abc=9223372036854775807", "ab&c=12"] {
            assert!(seen.contains(expected.as_bytes()), "{expected} of {} inputs", seen.len());
        }
        // One seed after another, or after a part of one; chance decides which.
        for joined in ["12abc", "cyz"] {
            let is_joined =
                |input: &Vec<u8>| input.windows(joined.len()).any(|part| part == joined.as_bytes());
            assert!(seen.iter().any(is_joined), "{joined} in {} inputs", seen.len());
        }
        assert!(seen.iter().any(|input| input.len() > 600), "nothing is long");
        assert!(seen.iter().any(|input| std::str::from_utf8(input).is_err()), "everything is text");
    }
}
