//! Output that others read: nothing that flowlock promises waits for a reader.
//!
//! A reader may stand still: a full pipe, a terminal stopped with Ctrl-S or by the command, a log
//! collector that hangs. So one thread writes messages to standard error. A caller waits only
//! [`A_MOMENT`] for its message, so that the message comes before what follows from it. If a message
//! does not get through in that time, later ones do not wait until one does. Messages without room are
//! counted, and the count is printed when the reader continues.
//!
//! The threads that write have all signals blocked: a write to a terminal that forbids writes from the
//! background (`stty tostop`) is made nevertheless, and stops no process.

mod patience;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::signal::SigSet;

pub(crate) use self::patience::hurry_when;
use self::patience::{LOOK, Patience, is_ready, stopped_by_no_terminal, write_now, write_patiently};

/// How long a caller waits until its message is written.
const A_MOMENT: Duration = Duration::from_millis(100);
/// How long the end of the process waits for messages that are not written yet.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a result may take to be written.
const RESULT: Duration = Duration::from_secs(10);
/// How many bytes may wait to be written.
const MOST_BYTES: usize = 256 * 1024;

static STDERR: Outlet = Outlet { queue: Mutex::new(Queue::EMPTY), changed: Condvar::new() };

/// Writes to standard error, after earlier messages.
pub(crate) fn say(text: impl Into<Vec<u8>>) {
    STDERR.write(text.into());
}

/// The same for a text that the next one replaces: it is left out while earlier messages are not written
/// yet.
pub(crate) fn say_unless_behind(text: impl Into<Vec<u8>>) {
    if !STDERR.queue().is_behind() {
        say(text);
    }
}

/// Waits up to [`LAST_WORDS`] until all messages are written.
pub(crate) fn finish() {
    let patience = Patience::begin(LAST_WORDS);
    let mut queue = STDERR.queue();
    while queue.is_behind() && patience.is_left() {
        queue = STDERR.changed.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Writes a result, and returns when it is written. After an error nothing more of it is written, unless
/// another process filled the same pipe at that moment.
pub(crate) fn deliver(to: impl AsFd, bytes: Vec<u8>) -> io::Result<()> {
    let result = Arc::new((to.as_fd().try_clone_to_owned()?, bytes));
    let patience = Patience::begin(RESULT);
    let (tell, told) = mpsc::channel();
    let theirs = result.clone();
    let write = move || {
        let _ = SigSet::all().thread_block();
        let _ = tell.send(write_patiently(&theirs.0, &theirs.1, patience));
    };
    if std::thread::Builder::new().name("flowlock-result".into()).spawn(write).is_err() {
        return stopped_by_no_terminal(|| write_patiently(&result.0, &result.1, patience));
    }
    // The thread gives up by itself, except in a write that blocks nevertheless.
    loop {
        match told.recv_timeout(A_MOMENT) {
            Ok(written) => return written,
            Err(RecvTimeoutError::Timeout) if patience.is_left() => {}
            Err(_) => return told.recv_timeout(A_MOMENT).unwrap_or_else(|_| Err(patience.over())),
        }
    }
}

/// Writes the library's log.
#[derive(Debug)]
pub(crate) struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What waits to be written, and the thread that writes it.
struct Outlet {
    queue: Mutex<Queue>,
    /// Notified when there is something to write, and when it was written.
    changed: Condvar,
}

struct Queue {
    texts: VecDeque<Vec<u8>>,
    /// The size of everything that is not written yet.
    bytes: usize,
    /// How many texts were ever accepted,
    given: u64,
    /// and how many of them are done.
    written: u64,
    /// How many had no room since the last one that had.
    dropped: u64,
    /// Whether the reader stands still.
    stalls: bool,
    has_thread: bool,
}

impl Queue {
    const EMPTY: Self = Self {
        texts: VecDeque::new(),
        bytes: 0,
        given: 0,
        written: 0,
        dropped: 0,
        stalls: false,
        has_thread: false,
    };

    fn is_behind(&self) -> bool {
        self.written < self.given || self.dropped > 0
    }

    /// Accepts a text if there is room, after the count of those that had none.
    fn give(&mut self, text: Vec<u8>) {
        if self.bytes > 0 && self.bytes + text.len() > MOST_BYTES {
            self.dropped += 1;
            return;
        }
        self.tell_dropped();
        self.push(text);
    }

    fn tell_dropped(&mut self) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            1 => self
                .push(b"flowlock: one message was left out here, because nobody read the output\n".to_vec()),
            n => self.push(
                format!("flowlock: {n} messages were left out here, because nobody read the output\n").into(),
            ),
        }
    }

    fn push(&mut self, text: Vec<u8>) {
        self.bytes += text.len();
        self.given += 1;
        self.texts.push_back(text);
    }
}

impl Outlet {
    /// No operation on it can be left half done.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&'static self, text: Vec<u8>) {
        let mut queue = self.queue();
        if !queue.has_thread {
            let thread = std::thread::Builder::new().name("flowlock-says".into());
            if thread.spawn(move || self.write_what_comes()).is_err() {
                drop(queue);
                return write_now(io::stderr(), &text);
            }
            queue.has_thread = true;
        }
        queue.give(text);
        self.changed.notify_all();
        if queue.stalls {
            return;
        }
        let given = queue.given;
        let waited = self.changed.wait_timeout_while(queue, A_MOMENT, |queue| queue.written < given);
        let (mut queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        queue.stalls |= waited.timed_out();
    }

    fn write_what_comes(&self) {
        // After an error this thread is like others.
        let _ = SigSet::all().thread_block();
        loop {
            let text = self.take_next();
            // A closed standard error must not stop a run.
            let _ = write_whole(&text);
            let mut queue = self.queue();
            queue.bytes -= text.len();
            queue.written += 1;
            queue.stalls = false;
            self.changed.notify_all();
        }
    }

    fn take_next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        loop {
            if let Some(text) = queue.texts.pop_front() {
                return text;
            }
            queue.tell_dropped();
            if queue.texts.is_empty() {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Writes everything, however long that takes.
fn write_whole(text: &[u8]) -> nix::Result<()> {
    let to = io::stderr();
    let mut rest = text;
    while !rest.is_empty() {
        match nix::unistd::write(&to, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                is_ready(to.as_fd(), PollTimeout::NONE)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_where_it_is_missing() {
        let mut queue = Queue::EMPTY;
        queue.give(vec![b'a'; MOST_BYTES + 1]);
        assert_eq!(queue.texts.len(), 1, "one text has room, however long it is");
        for _ in 0..3 {
            queue.give(b"b".to_vec());
        }
        assert_eq!((queue.texts.len(), queue.dropped), (1, 3));
        let first = queue.texts.pop_front().unwrap();
        queue.bytes -= first.len();
        queue.give(b"c".to_vec());
        let said = |text: &Vec<u8>| String::from_utf8(text.clone()).unwrap();
        let texts: Vec<_> = queue.texts.iter().map(said).collect();
        assert_eq!(texts, ["flowlock: 3 messages were left out here, because nobody read the output\n", "c"]);
        assert_eq!((queue.given, queue.bytes), (3, texts.concat().len()));
    }
}
