//! Time, and the processes that live and die in it.

use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Answer, Step};
use flowlock::{ClientId, Holder, LivenessId, Origin, Run, State, Ticket};

use super::super::{Verdict, promise};
use super::Play;

/// A process: its number in the store, and whether it is stopped.
#[derive(Debug, Clone, Copy)]
pub(in crate::history) struct Client {
    pub(in crate::history) id: ClientId,
    pub(in crate::history) liveness: LivenessId,
    pub(in crate::history) awake: bool,
    pub(in crate::history) last_beat_ms: i64,
}

impl Play {
    pub(in crate::history) fn new_client(&mut self) -> Client {
        let number = self.number();
        let last_beat_ms = self.now().boot_ms;
        let id = ClientId(self.first_client + u128::from(number));
        self.inboxes.open(&self.subjects, &self.books[0].namespace, id);
        Client { id, liveness: LivenessId(number), awake: true, last_beat_ms }
    }

    pub(in crate::history) fn holder(&self, client: usize) -> Holder {
        let Client { id, liveness, .. } = self.clients[client];
        Holder { client: id, liveness: Some(liveness), origin: Arc::new(Origin::default()) }
    }

    /// Lets time pass a second at a time; processes that are awake send a heartbeat every five seconds.
    pub(in crate::history) fn pass(&mut self, mut ms: u32) -> Verdict {
        loop {
            let part = ms.min(1_000);
            self.world.advance(Duration::from_millis(part.into()));
            let now = self.now().boot_ms;
            for client in 0..self.clients.len() {
                let Client { id, awake, last_beat_ms, .. } = self.clients[client];
                if awake && now - last_beat_ms >= 5_000 {
                    self.clients[client].last_beat_ms = now;
                    for at in 0..2 {
                        let waits = |run: &Run| run.holder.client == id && run.state != State::Running;
                        if self.books[at].snapshot.runs.iter().any(waits) {
                            self.beat(at, id)?;
                        }
                    }
                }
            }
            ms -= part;
            if ms == 0 {
                return Ok(());
            }
        }
    }

    /// Sends a heartbeat, and one more for each further page of its answer.
    fn beat(&mut self, at: usize, client: ClientId) -> Verdict {
        let mut from = Ticket(0);
        // It asks about all its runs, and the store answers for as many as it may. Every second time it
        // asks nothing.
        let runs = self.books[at].snapshot.runs.iter().filter(|run| run.holder.client == client);
        let asked = if self.steps.is_multiple_of(2) { usize::MAX } else { 0 };
        let explain: Vec<_> = runs.map(|run| run.attempt.id.clone()).take(asked).collect();
        loop {
            let beat = Step::Heartbeat { client, from, explain: explain.clone() };
            match self.step(at, &beat)? {
                Answer::Heard { next: Some(next), .. } => {
                    promise!(
                        next > from,
                        "the answer to a heartbeat does not come to its end: {next} after {from}"
                    );
                    from = next;
                }
                _ => return Ok(()),
            }
        }
    }

    pub(in crate::history) fn kill(&mut self, client: usize) {
        let liveness = self.clients[client].liveness;
        self.world.kill(liveness);
        self.dead.push(liveness);
        self.clients[client] = self.new_client();
    }

    /// Does what any waiter does that finds processes dead: reports them, and living ones as well.
    pub(in crate::history) fn bury(&mut self) -> Verdict {
        (0..2).try_for_each(|at| {
            let tickets: Vec<Ticket> = self.books[at].snapshot.runs.iter().map(|run| run.ticket).collect();
            self.step(at, &Step::Bury(tickets)).map(drop)
        })
    }

    pub(in crate::history) fn reboot(&mut self) -> Verdict {
        self.world.reboot();
        for client in 0..self.clients.len() {
            self.clients[client] = self.new_client();
        }
        for at in 0..2 {
            self.books[at].after_reboot();
            self.step(at, &Step::Heartbeat { client: ClientId(0), from: Ticket(0), explain: Vec::new() })?;
        }
        Ok(())
    }
}
