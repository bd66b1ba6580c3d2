//! What a token lets be read and written, and for how long.

use sync_core::causal::{CausalContext, Delta, Dot, ReplicaId};
use sync_core::session::{
    Boot, Documents, Grant, Hub, HubInput, HubOutput, HubStore, MemoryHub, Now, Rule,
};
use sync_core::wire::{Claim, ClientMessage, HubMessage, Push, VERSION, decode_hub, encode_delta};

/// The calendar when the clock stands at 0.
const UNIX_MS: u64 = 1_700_000_000_000;

fn rule(documents: Documents, writes: bool) -> Rule {
    Rule { documents, writes }
}

fn named(name: &str) -> Documents {
    Documents::Named(name.into())
}

fn starting_with(start: &str) -> Documents {
    Documents::StartingWith(start.into())
}

fn grant(rules: Vec<Rule>) -> Grant {
    Grant { subject: "anna".into(), rules, ends_ms: None }
}

/// A hub, and connections over which a test says what it likes.
struct Bench {
    hub: Hub,
    store: MemoryHub,
    now_ms: u64,
}

type Heard = Vec<(u64, Result<HubMessage, (u16, String)>)>;

impl Bench {
    fn new() -> Self {
        let store = MemoryHub::new(Boot { hub: 1, boot: 2 });
        Self { hub: Hub::new(), store, now_ms: 0 }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.now_ms, unix_ms: UNIX_MS + self.now_ms }
    }

    fn heard(&mut self) -> Heard {
        let outputs = std::iter::from_fn(|| self.hub.poll());
        let heard = outputs.map(|output| match output {
            HubOutput::Send { connection, frame } => (connection, Ok(decode_hub(&frame).unwrap())),
            HubOutput::Close { connection, fault } => {
                (connection, Err((fault.close_code(), fault.to_string())))
            }
        });
        heard.collect()
    }

    fn input(&mut self, connection: u64, input: HubInput) -> Heard {
        let now = self.now();
        let Ok(()) = self.hub.handle(&mut self.store, now, connection, input);
        self.heard()
    }

    fn say(&mut self, connection: u64, message: &ClientMessage) -> Heard {
        self.input(connection, HubInput::Frame(message.encode()))
    }

    fn connect(&mut self, connection: u64, grant: Option<Grant>) {
        self.input(connection, HubInput::Connected);
        if let Some(grant) = grant {
            assert_eq!(self.input(connection, HubInput::Granted(grant)), []);
        }
        let (version, token, agent) = (VERSION, None, "a".into());
        let heard =
            self.say(connection, &ClientMessage::Hello { version, token, agent, packs: false });
        assert!(matches!(heard[..], [(_, Ok(HubMessage::Welcome(_)))]), "{heard:?}");
    }

    fn open(&mut self, connection: u64, channel: u32, document: &str) -> Heard {
        let opening = 1;
        let open = ClientMessage::Open {
            channel,
            document: document.into(),
            cursor: None,
            context: CausalContext::default(),
            claims: vec![Claim { replica: replica(connection), opening }],
            compares: false,
            unsent: Vec::new(),
        };
        self.say(connection, &open)
    }

    fn push(&mut self, connection: u64, channel: u32, id: u64, counter: u64) -> Heard {
        let dead = [Dot::new(replica(connection), counter)].into_iter().collect();
        let delta = encode_delta(&Delta { dead, ..Delta::default() });
        self.say(connection, &ClientMessage::Push(Push { channel, id, delta, skips: false }))
    }

    fn seen(&mut self, document: &str) -> CausalContext {
        let Ok(document) = self.store.open(document);
        let Ok(context) = self.store.context(document);
        context
    }
}

fn replica(number: u64) -> ReplicaId {
    ReplicaId::from_bytes(u128::from(number).to_be_bytes())
}

fn opened(heard: &Heard) -> bool {
    matches!(heard.first(), Some((_, Ok(HubMessage::Opened { .. }))))
}

#[test]
fn rules_name_documents_whole_or_by_their_beginning() {
    let grant = grant(vec![
        rule(named("notes"), true),
        rule(starting_with("team/"), false),
        rule(named("team/board"), true),
    ]);
    for (document, may) in [
        ("notes", (true, true)),
        ("notes2", (false, false)),
        ("note", (false, false)),
        ("Notes", (false, false)),
        ("team/", (true, false)),
        ("team/a", (true, false)),
        ("team", (false, false)),
        ("team/board", (true, true)),
        ("team/boards", (true, false)),
        ("", (false, false)),
    ] {
        assert_eq!((grant.reads(document), grant.writes(document)), may, "{document}");
    }
}

#[test]
fn without_a_token_all_is_allowed_and_a_token_of_no_rule_allows_nothing() {
    let mut bench = Bench::new();
    bench.connect(1, None);
    assert!(opened(&bench.open(1, 1, "a")) && opened(&bench.open(1, 2, "b")));
    bench.connect(2, Some(grant(Vec::new())));
    let heard = bench.open(2, 1, "a");
    assert!(matches!(&heard[..], [(2, Err((4403, _)))]), "{heard:?}");
}

#[test]
fn what_a_token_does_not_name_gives_no_data_and_makes_no_document() {
    let mut bench = Bench::new();
    bench.connect(1, None);
    bench.open(1, 1, "secret");
    bench.push(1, 1, 1, 1);
    bench.connect(2, Some(grant(vec![rule(named("notes"), true)])));
    assert!(opened(&bench.open(2, 1, "notes")));
    let heard = bench.open(2, 2, "secret");
    assert!(matches!(&heard[..], [(2, Err((4403, _)))]), "{heard:?}");
    assert_eq!(bench.push(1, 1, 2, 2).len(), 1, "only its writer hears of it");
}

#[test]
fn who_may_only_read_hears_all_and_is_refused_what_it_writes() {
    let mut bench = Bench::new();
    bench.connect(1, Some(grant(vec![rule(named("notes"), true)])));
    bench.connect(2, Some(grant(vec![rule(named("notes"), false), rule(named("own"), true)])));
    assert!(opened(&bench.open(1, 1, "notes")));
    assert!(opened(&bench.open(2, 1, "notes")) && opened(&bench.open(2, 2, "own")));
    let heard = bench.push(1, 1, 1, 1);
    assert!(
        heard.iter().any(|(to, said)| *to == 2 && matches!(said, Ok(HubMessage::Delta { .. })))
    );
    let heard = bench.push(2, 1, 1, 1);
    let [(2, Ok(HubMessage::Refused { id: 1, reason, goes_on: true, .. }))] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert!(reason.contains("read, not written"), "{reason}");
    assert!(bench.seen("notes").of(replica(2)).is_none());
    let heard = bench.push(2, 2, 1, 1);
    assert!(matches!(heard[..], [(2, Ok(HubMessage::Stored { .. }))]), "{heard:?}");
}

#[test]
fn a_token_ends_to_the_millisecond() {
    for (at_ms, is_over) in [(999, false), (1_000, true), (1_001, true)] {
        let mut bench = Bench::new();
        let ends_ms = Some(UNIX_MS + 1_000);
        bench.connect(1, Some(Grant { ends_ms, ..grant(vec![rule(named("notes"), true)]) }));
        assert!(opened(&bench.open(1, 1, "notes")));
        assert_eq!(bench.hub.poll_timeout(), Some(1_000));
        bench.now_ms = at_ms;
        bench.hub.handle_timeout(bench.now());
        let heard = bench.heard();
        let closed = [(1, Err((4401, "the token was not accepted: it has ended".to_owned())))];
        assert_eq!(heard, if is_over { closed.to_vec() } else { Vec::new() }, "at {at_ms}");
    }
}

#[test]
fn a_token_that_ended_before_it_came_is_over_at_once() {
    let mut bench = Bench::new();
    bench.connect(1, Some(Grant { ends_ms: Some(1), ..grant(vec![rule(named("notes"), true)]) }));
    bench.hub.handle_timeout(bench.now());
    assert!(matches!(bench.heard()[..], [(1, Err((4401, _)))]));
}

#[test]
fn another_token_of_the_same_subject_takes_the_place_of_the_first() {
    let mut bench = Bench::new();
    let ends_ms = Some(UNIX_MS + 1_000);
    bench.connect(1, Some(Grant { ends_ms, ..grant(vec![rule(named("notes"), true)]) }));
    assert!(opened(&bench.open(1, 1, "notes")));
    let later =
        Grant { ends_ms: Some(UNIX_MS + 50_000), ..grant(vec![rule(named("notes"), false)]) };
    assert_eq!(bench.input(1, HubInput::Granted(later)), []);
    bench.now_ms = 2_000;
    bench.hub.handle_timeout(bench.now());
    assert_eq!(bench.heard(), [], "it lasts as long as the second");
    let heard = bench.push(1, 1, 1, 1);
    assert!(matches!(heard[..], [(1, Ok(HubMessage::Refused { .. }))]), "{heard:?}");
    let without = grant(vec![rule(named("other"), true)]);
    let heard = bench.input(1, HubInput::Granted(without));
    assert!(matches!(&heard[..], [(1, Err((4403, _)))]), "{heard:?}");
}

#[test]
fn a_token_of_another_subject_ends_the_connection() {
    let mut bench = Bench::new();
    bench.connect(1, Some(grant(vec![rule(named("notes"), true)])));
    let other = Grant { subject: "ben".into(), ..grant(vec![rule(named("notes"), true)]) };
    let heard = bench.input(1, HubInput::Granted(other));
    assert!(matches!(&heard[..], [(1, Err((4401, _)))]), "{heard:?}");
    let late = bench.input(1, HubInput::Granted(grant(Vec::new())));
    assert_eq!(late, [], "it has gone");
}
