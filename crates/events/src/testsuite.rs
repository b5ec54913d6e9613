//! What every [`Exchange`] must do, as cases that any implementation can run.
//!
//! ```
//! use wharf_events::{Hub, testsuite};
//!
//! testsuite::run(|| Box::new(Hub::default()));
//! ```
//!
//! A case panics with the place and the values when a promise is broken. Cases wait on a runtime of their own, so they
//! are called outside of any other.

// A case that fails panics: that is how a test says so.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use wharf_types::{Any, ErrorKind, Filters, Kind as _};

use crate::{Delivery, Envelope, Exchange, Subscription};

/// One promise of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is promised, in the words of a function's name.
    pub name: &'static str,
    /// Panics when an exchange, which is new, breaks the promise.
    pub run: fn(Box<dyn Exchange>),
}

/// Runs each case against a new exchange.
///
/// # Panics
/// When a promise is broken.
pub fn run(open: impl Fn() -> Box<dyn Exchange>) {
    for case in cases() {
        let named = Named(case.name);
        (case.run)(open());
        drop(named);
    }
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    CASES.to_vec()
}

/// Says which case it was that panicked.
struct Named(&'static str);

impl Drop for Named {
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("an exchange broke this promise: {}", self.0);
        }
    }
}

/// Cases named after their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        const CASES: &[Case] = &[$(Case { name: stringify!($case), run: $case }),*];
    };
}

cases![
    an_event_arrives_as_it_was_published,
    each_subscriber_gets_what_its_filters_match,
    what_was_published_before_is_not_seen,
    events_of_one_publisher_keep_their_order,
    a_subscriber_who_reads_nothing_is_told_what_it_missed,
    a_subscriber_who_left_holds_nobody_up,
    odd_topics_are_refused,
    a_subscription_ends_with_its_exchange,
];

fn envelope(namespace: &str, topic: &str, value: u64) -> Envelope {
    Envelope {
        timestamp: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        namespace: namespace.parse().unwrap(),
        topic: topic.to_owned(),
        event: Any { type_url: "wharf.test/number".to_owned(), value: value.to_be_bytes().to_vec() },
    }
}

/// The number in an event of [`envelope`].
fn number(envelope: &Envelope) -> u64 {
    u64::from_be_bytes(envelope.event.value.as_slice().try_into().unwrap())
}

/// How long an exchange may take to deliver all that it has.
const DEADLINE: Duration = Duration::from_secs(30);

/// All that is delivered until the exchange is gone.
fn rest(mut subscription: Subscription) -> Vec<Delivery> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let rest = async {
        let mut rest = Vec::new();
        while let Some(delivery) = subscription.next().await {
            rest.push(delivery);
        }
        rest
    };
    let rest = runtime.block_on(async { tokio::time::timeout(DEADLINE, rest).await });
    rest.expect("the subscription ends once its exchange is gone")
}

/// The numbers of all events that are delivered until the exchange is gone, none of which may be missing.
fn numbers(subscription: Subscription) -> Vec<u64> {
    let number = |delivery| match delivery {
        Delivery::Event(event) => number(&event),
        Delivery::Missed(count) => panic!("{count} events were missed"),
    };
    rest(subscription).into_iter().map(number).collect()
}

fn an_event_arrives_as_it_was_published(exchange: Box<dyn Exchange>) {
    let (one, other) = (exchange.subscribe(Filters::all()), exchange.subscribe(Filters::all()));
    let sent = envelope("some-space", "/tasks/exec-started", 7);
    exchange.publish(sent.clone()).unwrap();
    drop(exchange);
    for subscription in [one, other] {
        assert_eq!(rest(subscription), [Delivery::Event(sent.clone().into())]);
    }
}

fn each_subscriber_gets_what_its_filters_match(exchange: Box<dyn Exchange>) {
    let cases: [(&[&str], &[u64]); 6] = [
        (&[], &[0, 1, 2]),
        (&["namespace==a"], &[0, 1]),
        (&["namespace==a,topic~=|^/tasks/|"], &[0]),
        (&["topic==\"/images/create\""], &[1, 2]),
        (&["namespace==b", "topic==\"/tasks/exit\""], &[0, 2]),
        (&["nothing"], &[]),
    ];
    let subscribed = cases.map(|(filters, expected)| {
        let subscription = exchange.subscribe(Filters::parse(filters).unwrap());
        (subscription, filters, expected)
    });
    for (space, topic, value) in [("a", "/tasks/exit", 0), ("a", "/images/create", 1), ("b", "/images/create", 2)] {
        exchange.publish(envelope(space, topic, value)).unwrap();
    }
    drop(exchange);
    for (subscription, filters, expected) in subscribed {
        assert_eq!(numbers(subscription), expected, "{filters:?}");
    }
}

fn what_was_published_before_is_not_seen(exchange: Box<dyn Exchange>) {
    exchange.publish(envelope("a", "/t", 1)).unwrap();
    let subscription = exchange.subscribe(Filters::all());
    exchange.publish(envelope("a", "/t", 2)).unwrap();
    drop(exchange);
    assert_eq!(numbers(subscription), [2]);
}

fn events_of_one_publisher_keep_their_order(exchange: Box<dyn Exchange>) {
    let subscription = exchange.subscribe(Filters::all());
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let exchange = &exchange;
            scope.spawn(move || {
                for number in 0..200 {
                    exchange.publish(envelope("a", "/t", publisher * 1000 + number)).unwrap();
                }
            });
        }
    });
    drop(exchange);
    let all = numbers(subscription);
    for publisher in 0..4 {
        let own: Vec<_> =
            all.iter().filter(|number| **number / 1000 == publisher).map(|number| number % 1000).collect();
        assert_eq!(own, (0..200).collect::<Vec<_>>());
    }
}

fn a_subscriber_who_reads_nothing_is_told_what_it_missed(exchange: Box<dyn Exchange>) {
    let subscription = exchange.subscribe(Filters::all());
    let published = 100_000;
    for number in 0..published {
        exchange.publish(envelope("a", "/t", number)).unwrap();
    }
    drop(exchange);
    // Each event has its place: what came before it and what was missed before it make its number.
    let (mut place, mut missed) = (0, 0);
    for delivery in rest(subscription) {
        match delivery {
            Delivery::Event(event) => {
                assert_eq!(number(&event), place);
                place += 1;
            }
            Delivery::Missed(count) => {
                missed += count;
                place += count;
            }
        }
    }
    assert_eq!(place, published);
    assert!(missed > 0, "a queue without a bound");
}

fn a_subscriber_who_left_holds_nobody_up(exchange: Box<dyn Exchange>) {
    let (leaves, stays) = (exchange.subscribe(Filters::all()), exchange.subscribe(Filters::all()));
    exchange.publish(envelope("a", "/t", 1)).unwrap();
    drop(leaves);
    exchange.publish(envelope("a", "/t", 2)).unwrap();
    drop(exchange);
    assert_eq!(numbers(stays), [1, 2]);
}

fn odd_topics_are_refused(exchange: Box<dyn Exchange>) {
    let subscription = exchange.subscribe(Filters::all());
    let long = format!("/{}", "a".repeat(77));
    for topic in ["", "/", "tasks", "tasks/exit", "//", "/tasks/", "/tasks//exit", "/a b", "/..", "/é", "/a\n", &long]
    {
        let error = exchange.publish(envelope("a", topic, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
    for (topic, value) in [("/a", 1), ("/tasks/exec-added", 2), ("/a/b.c/d_e/0", 3)] {
        exchange.publish(envelope("a", topic, value)).unwrap();
    }
    drop(exchange);
    assert_eq!(numbers(subscription), [1, 2, 3]);
}

fn a_subscription_ends_with_its_exchange(exchange: Box<dyn Exchange>) {
    let subscription = exchange.subscribe(Filters::all());
    drop(exchange);
    assert_eq!(rest(subscription), []);
}
