//! Scripted messages, and a simulated server that does its worst.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_postgres_micros(seconds * 1_000_000)
}

fn observer() -> Observer {
    Observer::new(Duration::ZERO, SECOND, Lsn::new(100))
}

fn observed(lsn: u64, seconds: i64) -> Option<WalEvent> {
    Some(WalEvent::observed(Lsn::new(lsn), at(seconds).unwrap()))
}

#[test]
fn keepalives_alone_prove_nothing() {
    let mut observer = observer();
    for seconds in 1..10 {
        observer.keepalive(at(seconds));
        assert_eq!(observer.observation(), None);
    }
}

#[test]
fn an_idle_server_is_known_up_to_the_clock_before_the_question() {
    let mut observer = observer();
    assert!(!observer.ask(), "nothing is known that could be proven");
    observer.keepalive(at(1));
    assert!(observer.ask());
    observer.keepalive(at(2));
    observer.answer(Lsn::new(100));
    assert_eq!(observer.observation(), observed(100, 1), "the keepalive at 2 came after the question");
    assert_eq!(observer.observation(), None, "once");
    assert!(observer.ask());
    observer.answer(Lsn::new(100));
    assert_eq!(observer.observation(), observed(100, 2));
}

#[test]
fn an_observation_waits_for_its_data() {
    let mut observer = observer();
    observer.keepalive(at(1));
    assert!(observer.ask());
    observer.answer(Lsn::new(300));
    assert_eq!(observer.observation(), None);
    observer.data(Lsn::new(200), Lsn::new(400), at(5));
    assert_eq!(observer.observation(), None);
    observer.data(Lsn::new(300), Lsn::new(500), at(7));
    assert_eq!(observer.observation(), observed(300, 1));
}

#[test]
fn data_prove_the_clock_of_the_message_before() {
    let mut observer = observer();
    observer.data(Lsn::new(200), Lsn::new(200), at(5));
    assert_eq!(observer.observation(), None, "the clock was read after the LSN");
    observer.data(Lsn::new(300), Lsn::new(300), at(6));
    assert_eq!(observer.observation(), observed(300, 5));
    observer.keepalive(at(9));
    observer.data(Lsn::new(400), Lsn::new(400), at(20));
    assert_eq!(observer.observation(), observed(400, 9));
}

#[test]
fn observations_keep_their_distance() {
    let mut observer = observer();
    observer.keepalive(at(1));
    observer.data(Lsn::new(200), Lsn::new(200), at(1));
    assert_eq!(observer.observation(), observed(200, 1));
    observer.data(Lsn::new(300), Lsn::new(300), at(2));
    assert_eq!(observer.observation(), None, "still the clock at 1");
    observer.data(Lsn::new(400), Lsn::new(400), at(3));
    assert_eq!(observer.observation(), observed(400, 2));
}

#[test]
fn a_clock_that_is_set_back_takes_unproven_readings_along() {
    let mut observer = observer();
    observer.keepalive(at(100));
    assert!(observer.ask());
    observer.keepalive(at(50));
    observer.answer(Lsn::new(100));
    assert_eq!(observer.observation(), None);
    observer.data(Lsn::new(200), Lsn::new(900), at(51));
    observer.keepalive(at(10));
    observer.data(Lsn::new(900), Lsn::new(900), at(11));
    assert_eq!(observer.observation(), observed(900, 10));
}

#[test]
fn readings_are_dated_back_by_the_margin() {
    let mut observer = Observer::new(margin(Duration::from_millis(200)), SECOND, Lsn::new(100));
    observer.keepalive(at(10));
    observer.data(Lsn::new(200), Lsn::new(200), at(10));
    let at = Timestamp::from_postgres_micros(8_400_000).unwrap();
    assert_eq!(observer.observation(), Some(WalEvent::observed(Lsn::new(200), at)));
}

/// What can happen next, in any order: the world writes log, or one of the server's two processes takes one of its steps.
#[derive(Clone, Copy, Debug)]
enum Step {
    Commit,
    ReadFlush,
    SendData,
    SendKeepalive,
    Ask,
    Identify,
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::{Answer, Ask, Commit, Identify, ReadFlush, SendData, SendKeepalive};
    prop::sample::select(vec![Commit, Commit, ReadFlush, SendData, SendKeepalive, Ask, Identify, Answer])
}

proptest! {
    /// Every step takes one second and every commit one byte, flushed at once. However the processes are interleaved, no
    /// commit by the time of an observation may lie beyond it.
    #[test]
    fn no_schedule_makes_an_observation_wrong(steps in prop::collection::vec(step(), 1..200)) {
        let mut observer = Observer::new(Duration::ZERO, Duration::ZERO, Lsn::ZERO);
        let mut commits = Vec::new();
        let (mut flush, mut wal_end, mut asked, mut answer) = (0_u64, None, false, None);
        for (now, step) in (1_i64..).zip(steps) {
            match step {
                Step::Commit => { flush += 1; commits.push((flush, at(now).unwrap())); }
                Step::ReadFlush => wal_end = Some(flush),
                Step::SendData => if let Some(end) = wal_end.take() {
                    observer.data(Lsn::new(end), Lsn::new(end), at(now));
                },
                // The walsender does one thing at a time: what it read for data, it sends before anything else.
                Step::SendKeepalive => if wal_end.is_none() { observer.keepalive(at(now)) },
                Step::Ask => if !asked { asked = observer.ask() },
                Step::Identify => if asked && answer.is_none() { answer = Some(flush) },
                Step::Answer => if let Some(lsn) = answer.take() {
                    asked = false;
                    observer.answer(Lsn::new(lsn));
                },
            }
            if let Some(WalEvent::Observed { flush_lsn, at }) = observer.observation() {
                let missed = commits.iter().find(|(lsn, time)| *time <= at && Lsn::new(*lsn) > flush_lsn);
                prop_assert_eq!(missed, None, "at {} up to {}", at, flush_lsn);
            }
        }
    }
}
