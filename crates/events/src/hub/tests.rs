use std::time::SystemTime;

use super::*;
use crate::Delivery;

fn event(topic: &str, value: &[u8]) -> Envelope {
    let event = Any { type_url: "test".to_owned(), value: value.to_vec() };
    Envelope { timestamp: SystemTime::UNIX_EPOCH, namespace: "ns".parse().unwrap(), topic: topic.to_owned(), event }
}

fn value(delivery: Option<Delivery>) -> Vec<u8> {
    match delivery {
        Some(Delivery::Event(event)) => event.event.value.clone(),
        other => panic!("no event but {other:?}"),
    }
}

#[test]
fn a_hub_keeps_the_promises_of_an_exchange() {
    crate::testsuite::run(|| Box::new(Hub::default()));
}

#[tokio::test]
async fn the_gap_is_where_the_events_were_missed() {
    let hub = Hub::new(Limits { events: 2, bytes: usize::MAX }, None);
    let mut all = hub.subscribe(Filters::all());
    for number in 0..5 {
        hub.publish(event("/a", &[number])).unwrap();
    }
    assert_eq!(value(all.next().await), [0]);
    // There is room for one again, behind the gap.
    hub.publish(event("/a", &[5])).unwrap();
    hub.publish(event("/a", &[6])).unwrap();
    assert_eq!(value(all.next().await), [1]);
    assert_eq!(all.next().await, Some(Delivery::Missed(3)));
    assert_eq!(value(all.next().await), [5]);
    assert_eq!(all.next().await, Some(Delivery::Missed(1)));
    hub.publish(event("/a", &[7])).unwrap();
    assert_eq!(value(all.next().await), [7]);
}

#[tokio::test]
async fn bytes_are_bounded_but_one_event_always_fits() {
    let hub = Hub::new(Limits { events: 100, bytes: 4096 }, None);
    let mut all = hub.subscribe(Filters::all());
    for _ in 0..2 {
        hub.publish(event("/large", &[1; 10_000])).unwrap();
        hub.publish(event("/small", &[2])).unwrap();
        assert_eq!(value(all.next().await), [1; 10_000]);
        assert_eq!(all.next().await, Some(Delivery::Missed(1)));
    }
    // 1,000 bytes each, and what is added: three fit.
    for number in 0..10 {
        hub.publish(event("/a", &[number; 1000])).unwrap();
    }
    for number in 0..3 {
        assert_eq!(value(all.next().await), [number; 1000]);
    }
    assert_eq!(all.next().await, Some(Delivery::Missed(7)));
}

#[tokio::test]
async fn one_stalled_subscriber_among_a_hundred_costs_the_others_nothing() {
    let limit = 500;
    let hub = Hub::new(Limits { events: limit, bytes: usize::MAX }, None);
    let mut stalled = hub.subscribe(Filters::all());
    let mut others: Vec<_> = (0..99).map(|_| hub.subscribe(Filters::all())).collect();
    let numbers: Vec<u16> = (0..5000).collect();
    for batch in numbers.chunks(100) {
        for number in batch {
            hub.publish(event("/a", &number.to_be_bytes())).unwrap();
        }
        for other in &mut others {
            for number in batch {
                assert_eq!(value(other.next().await), number.to_be_bytes());
            }
        }
    }
    for number in numbers.iter().take(limit) {
        assert_eq!(value(stalled.next().await), number.to_be_bytes());
    }
    assert_eq!(stalled.next().await, Some(Delivery::Missed(4500)));
    hub.publish(event("/a", b"last")).unwrap();
    assert_eq!(value(stalled.next().await), b"last");
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let hub = Hub::default();
    let mut all = hub.subscribe(Filters::all());
    let waits = tokio::spawn(async move { (value(all.next().await), all.next().await) });
    tokio::task::yield_now().await;
    hub.publish(event("/a", b"x")).unwrap();
    tokio::task::yield_now().await;
    drop(hub);
    assert_eq!(waits.await.unwrap(), (b"x".to_vec(), None));
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let hub = Hub::default();
    let mut all = hub.subscribe(Filters::all());
    tokio::select! {
        biased;
        delivery = all.next() => panic!("nothing was published, {delivery:?} came"),
        () = std::future::ready(()) => {}
    }
    hub.publish(event("/a", b"x")).unwrap();
    assert_eq!(value(all.next().await), b"x");
}

#[tokio::test]
async fn filters_see_into_events_that_the_decoder_knows() {
    let hub = Hub::with_decoder(|event, path| match path {
        ["container_id"] => String::from_utf8(event.value.clone()).ok(),
        _ => None,
    });
    let filters = Filters::parse(&["event.container_id==one", "event.other"]).unwrap();
    let mut one = hub.subscribe(filters.clone());
    for id in ["two", "one"] {
        hub.publish(event("/tasks/exit", id.as_bytes())).unwrap();
    }
    assert_eq!(value(one.next().await), b"one");
    let blind = Hub::default();
    let mut none = blind.subscribe(filters);
    blind.publish(event("/tasks/exit", b"one")).unwrap();
    drop(blind);
    assert_eq!(none.next().await, None);
}

#[test]
fn a_subscription_that_is_dropped_leaves_nothing() {
    let hub = Hub::default();
    let first = hub.subscribe(Filters::all());
    let second = hub.subscribe(Filters::all());
    drop(first);
    assert_eq!(hub.inner.subscribers().queues.len(), 1);
    drop(second);
    assert!(hub.inner.subscribers().queues.is_empty());
}

#[tokio::test]
async fn what_happened_before_the_hub_was_there_reaches_those_who_come_soon() {
    let hub = Hub::default();
    hub.keep_late(Duration::from_secs(600));
    let mut there = hub.subscribe(Filters::all());
    hub.publish(event("/tasks/exit", &[1])).unwrap();
    hub.publish(event("/tasks/oom", &[2])).unwrap();
    hub.publish(Envelope { timestamp: SystemTime::now(), ..event("/tasks/exit", &[3]) }).unwrap();
    let mut came = hub.subscribe(Filters::parse(&["topic==\"/tasks/exit\""]).unwrap());
    hub.publish(event("/tasks/exit", &[4])).unwrap();
    drop(hub);
    assert_eq!((value(came.next().await), value(came.next().await)), (vec![1], vec![4]));
    assert_eq!(came.next().await, None);
    for number in 1..=4 {
        assert_eq!(value(there.next().await), [number]);
    }
}

#[tokio::test]
async fn late_events_are_kept_for_a_while_and_not_without_bound() {
    let hub = Hub::new(Limits { events: 2, bytes: usize::MAX }, None);
    hub.keep_late(Duration::from_secs(600));
    for number in 0..5 {
        hub.publish(event("/a", &[number])).unwrap();
    }
    let mut came = hub.subscribe(Filters::all());
    hub.keep_late(Duration::ZERO);
    let mut over = hub.subscribe(Filters::all());
    drop(hub);
    assert_eq!((value(came.next().await), value(came.next().await)), (vec![3], vec![4]));
    assert_eq!(over.next().await, None);
}
