//! A tiny process for the faults to hit: carries out the given operations in order, and prints the
//! result of each.
//!
//! `probe create F · write F TEXT · append F TEXT · sync F · truncate F LEN · rename A B · link A B · unlink F · send ·
//! statfs P · boot · clock · server · pause · hang ·
//! rows DB N`; a refused operation prints its error number and the next one follows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;

use nix::sys::statfs::statfs;
use nix::time::{ClockId, clock_gettime};

fn main() {
    let mut words = std::env::args().skip(1);
    while let Some(operation) = words.next() {
        let mut word = || words.next().expect("the operation has its operands");
        let result = match operation.as_str() {
            "create" => File::create_new(word()).map(drop),
            "write" => write(&word(), &word()),
            "append" => append(&word(), &word()),
            "sync" => File::open(word()).and_then(|file| file.sync_all()),
            "truncate" => open(&word()).and_then(|file| file.set_len(word().parse().expect("a length"))),
            "rename" => std::fs::rename(word(), word()),
            "link" => std::fs::hard_link(word(), word()),
            "unlink" => std::fs::remove_file(word()),
            "send" => send(),
            "statfs" => {
                show(statfs(word().as_str()).map(|answer| format!("{:x}", answer.filesystem_type().0)))
            }
            "boot" => std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| print!("{id}")),
            "clock" => clocks(),
            "server" => {
                server();
                Ok(())
            }
            "pause" => io::stdin().read_line(&mut String::new()).map(drop),
            "hang" => loop {
                std::thread::park();
            },
            "rows" => rows(&word(), word().parse().expect("a number of rows")),
            other => panic!("the probe does not know {other:?}"),
        };
        match result {
            Ok(()) => println!("{operation} ok"),
            Err(error) => {
                println!("{operation} {}", error.raw_os_error().map_or(error.to_string(), |n| n.to_string()));
            }
        }
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn write(path: &str, text: &str) -> io::Result<()> {
    open(path)?.write_all_at(text.as_bytes(), 0)
}

fn append(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

/// Starts a throw-away server that is never dropped.
fn server() {
    let server = flowlock_testkit::RedisServer::shared();
    println!("{} {}", server.pid(), server.directory().display());
}

fn send() -> io::Result<()> {
    let (here, there) = UnixDatagram::pair()?;
    here.send(b"hello")?;
    there.recv(&mut [0; 8]).map(drop)
}

fn show(value: nix::Result<String>) -> io::Result<()> {
    println!("{}", value?);
    Ok(())
}

fn clocks() -> io::Result<()> {
    let wall = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    println!("{} {}", wall.tv_sec(), boot.tv_sec());
    Ok(())
}

/// Inserts rows one transaction at a time, and prints each number once it is durable.
fn rows(path: &str, count: u64) -> io::Result<()> {
    let insert = || -> rusqlite::Result<()> {
        let db = rusqlite::Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.execute("create table if not exists row (n integer)", [])?;
        for n in 1..=count {
            db.execute("insert into row values (?1)", [n as i64])?;
            println!("row {n}");
            let _ = io::stdout().flush();
        }
        Ok(())
    };
    insert().map_err(io::Error::other)
}
