use super::super::held_path::{HeldPath, Missing};
use super::*;

fn inboxes() -> (tempfile::TempDir, Inboxes) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("flowlock.db");
    File::create(&store).unwrap();
    fs::create_dir(directory.path().join("flowlock.db-wake")).unwrap();
    let inboxes = Inboxes::new(SideFiles::of(&HeldPath::find(&store, Missing::Refused).unwrap()).unwrap());
    (directory, inboxes)
}

fn wake(client: u128, run: usize) -> Wake {
    Wake { client: ClientId(client), run: RunId::parse(&format!("run.{run}")).unwrap() }
}

#[test]
fn what_one_step_tells_a_client_is_one_message_however_much_it_is() {
    let (_directory, inboxes) = inboxes();
    let mut inbox = inboxes.open(ClientId(1)).unwrap();
    let wakes: Vec<_> = (0..64).map(|run| wake(1, run)).collect();
    inboxes.send(&wakes);
    let expected = News { runs: wakes.into_iter().map(|wake| wake.run).collect(), ..News::default() };
    assert_eq!(inbox.wait(Duration::ZERO), expected);
}

/// However their lengths meet the end of a message: 15 of the longest ids and one of 497 bytes fill
/// one.
#[test]
fn every_id_arrives_whole() {
    let (_directory, inboxes) = inboxes();
    let mut inbox = inboxes.open(ClientId(1)).unwrap();
    for last in 490..=505 {
        let length = |at: usize| if at % 16 == 15 { last } else { 512 };
        let id = |at: usize| format!("{at:02}{}", "x".repeat(length(at) - 2));
        let run = |at| RunId::parse(&id(at)).unwrap();
        let wakes: Vec<_> = (0..40).map(|at| Wake { client: ClientId(1), run: run(at) }).collect();
        assert!(messages(&wakes).iter().all(|message| message.len() <= LARGEST_MESSAGE));
        inboxes.send(&wakes);
        let runs: Vec<_> = wakes.into_iter().map(|wake| wake.run).collect();
        assert_eq!(inbox.wait(Duration::ZERO).runs, runs, "{last}");
    }
}

#[test]
fn whoever_empties_a_full_inbox_is_told_that_something_may_be_missing() {
    let (_directory, inboxes) = inboxes();
    let mut inbox = inboxes.open(ClientId(1)).unwrap();
    for run in 0..10 * inbox.room {
        inboxes.send(&[wake(1, run)]);
    }
    let news = inbox.wait(Duration::ZERO);
    assert!(news.runs.len() < 10 * inbox.room, "the kernel took them all");
    assert_eq!(news.missed, Missed::Here);
    // A queue may hold more than one look reads.
    while inbox.wait(Duration::ZERO) != News::default() {}
    inboxes.send(&[wake(1, 0)]);
    assert_eq!(inbox.wait(Duration::ZERO), News { runs: vec![wake(1, 0).run], ..News::default() });
}

#[test]
fn hints_without_end_cost_a_bounded_number_of_messages_and_ids() {
    let (_directory, inboxes) = inboxes();
    let mut inbox = inboxes.open(ClientId(1)).unwrap();
    inbox.room = 2;
    let most: Vec<_> = (0..5).map(|run| wake(1, run)).collect();
    for wake in &most {
        inboxes.send(std::slice::from_ref(wake));
    }
    let runs: Vec<_> = most.into_iter().map(|wake| wake.run).collect();
    assert_eq!(inbox.wait(Duration::ZERO), News { runs: runs[..3].to_vec(), missed: Missed::Here });
    assert_eq!(inbox.wait(Duration::ZERO), News { runs: runs[3..].to_vec(), missed: Missed::Here });

    inbox.room = 10;
    let (directory, socket) = open_sender(&inboxes.side).unwrap();
    let name = way_to(&directory).join(ClientId(1).to_string());
    socket.send_to(&b"a\n".repeat(LARGEST_MESSAGE / 2), name).unwrap();
    let news = inbox.wait(Duration::ZERO);
    assert_eq!((news.runs.len(), news.missed), (IDS, Missed::Here));
}

#[test]
fn processes_that_stand_still_keep_nobody_else_from_being_woken() {
    let (_directory, inboxes) = inboxes();
    let still: Vec<_> = (0..60).map(|client| inboxes.open(ClientId(client)).unwrap()).collect();
    for run in 0..20 {
        let wakes: Vec<_> = (0..60).map(|client| wake(client, run)).collect();
        inboxes.send(&wakes);
    }
    let mut awake = inboxes.open(ClientId(100)).unwrap();
    inboxes.send(&[wake(100, 0)]);
    assert_eq!(awake.wait(Duration::ZERO).runs, [wake(100, 0).run]);
    drop(still);
}
