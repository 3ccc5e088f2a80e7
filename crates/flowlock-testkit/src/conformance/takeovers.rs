//! When a takeover is noticed; both the fast paths and the engine must notice it in the same step.

use std::sync::Arc;
use std::time::Duration;

use flowlock::store::memory::TestWorld;
use flowlock::store::redis::Ways;

use super::Stage;
use crate::Subject;
use crate::subject::FAILOVER_PAUSE;

/// The pause begins with the first step that might grant something, not with one that leaves nothing to
/// grant.
pub fn a_pause_begins_with_the_first_step_that_might_grant(ways: Ways) {
    let pause = FAILOVER_PAUSE.as_millis() as u64;
    assert_eq!(left_of_the_pause(ways, |_| ()), pause, "nobody waits for what was written");
    let waits_for_it = |stage: &Stage| drop(stage.run("waits for it").reads("x").waits());
    assert_eq!(left_of_the_pause(ways, waits_for_it), pause - 1_000, "somebody waits for it");
    let may_not_overwrite = |stage: &Stage| drop(stage.run("once").writes("x").once().waits());
    assert_eq!(left_of_the_pause(ways, may_not_overwrite), pause - 1_000, "somebody may not overwrite it");
}

/// A run commits `x` after a takeover, and another request comes a second later; returns the answer to
/// that request.
fn left_of_the_pause(ways: Ways, before: impl FnOnce(&Stage)) -> u64 {
    let subject = Subject::redis_with_takeovers(ways, Arc::new(TestWorld::default()));
    let stage = Stage::new(subject).with_own_processes();
    let _holds = stage.run("holds").locks("l").tries();
    let _waits = stage.run("waits").locks("l").waits();
    let writer = stage.run("writer").writes("x").tries();
    before(&stage);
    stage.take_over();
    assert_eq!(writer.commits(), "committed");
    stage.world(|world| world.advance(Duration::from_secs(1)));
    let refused = stage.run("later").locks("free").tries();
    refused.is("refused(busy)");
    refused.first_blocked().retry_after_ms.expect("the end of the pause")
}
