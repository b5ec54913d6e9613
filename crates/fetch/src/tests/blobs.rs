use wharf_testkit::registry::Fault;

use super::*;

#[tokio::test]
async fn a_blob_comes_whole_and_from_any_offset() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    for offset in [0, 1, 99_999, 100_000] {
        let at = usize::try_from(offset).unwrap();
        assert_eq!(setup.fetch(quick(), &target, offset).await.unwrap(), setup.blob.bytes[at..], "from {offset}");
    }
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &target, 100_001).await), ErrorKind::OutOfRange);
    // Each byte once: 100,000 for the first, one fewer for the second, one for the third.
    assert_eq!(setup.registry.served(&target.digest), 200_000);
}

#[tokio::test]
async fn a_cut_stream_goes_on_where_it_was() {
    for percent in [1u64, 20, 50, 99] {
        let setup = setup().await;
        let target = setup.blob.descriptor();
        setup.registry.set_fault(&target.digest, Fault::CutAfter(percent * 1000)).times(1);
        assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.blob.bytes);
        assert_eq!(setup.registry.served(&target.digest), 100_000, "at {percent} %");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_all_the_time_arrives_as_long_as_it_makes_progress() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    setup.registry.set_fault(&target.digest, Fault::ResetAfter(10_000));
    setup.registry.set_fault(&target.digest, Fault::CutAfter(10_000));
    assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.blob.bytes);
}

#[tokio::test]
async fn a_stream_that_makes_none_ends() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    setup.registry.set_fault(&target.digest, Fault::CutAfter(10));
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &target, 0).await), ErrorKind::Unavailable);
    assert!(setup.registry.served(&target.digest) <= 40);
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_is_borne_with() {
    for fault in [Fault::IgnoreRange, Fault::Status(416)] {
        let setup = setup().await;
        let target = setup.blob.descriptor();
        setup.registry.set_fault(&target.digest, Fault::CutAfter(50_000)).times(1);
        setup.registry.set_fault(&target.digest, fault).times(1);
        assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.blob.bytes);
        assert_eq!(setup.registry.served(&target.digest), 150_000);
    }
}

#[tokio::test]
async fn wrong_lengths_and_ranges_are_refused() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    let faults = [
        (Fault::Truncated(1), 0),
        (Fault::TooLong(1), 0),
        (Fault::ContentLength(99_000), 0),
        (Fault::ContentLength(101_000), 0),
        (Fault::WrongContentRange, 10),
        (Fault::Body("text/html", "<html>".into()), 0),
        (Fault::Body("text/plain", "".into()), 0),
    ];
    for (fault, offset) in faults {
        setup.registry.clear_faults();
        setup.registry.set_fault(&target.digest, fault.clone());
        let result = setup.fetch(quick(), &target, offset).await;
        assert_eq!(kind_of(&setup, result), ErrorKind::FailedPrecondition, "{fault:?}");
    }
}

#[tokio::test]
async fn a_blob_of_unknown_length_must_end_where_it_should() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    setup.registry.set_fault(&target.digest, Fault::Chunked);
    assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.blob.bytes);
    let shorter = Descriptor { size: target.size - 1, ..target.clone() };
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &shorter, 0).await), ErrorKind::FailedPrecondition);
    let longer = Descriptor { size: target.size + 1, ..target.clone() };
    assert!(setup.fetch(quick(), &longer, 0).await.is_err());
}

#[tokio::test]
async fn refusals_are_the_callers_error() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    let resolver = RegistryResolver::new(quick()).unwrap();
    let fetcher = resolver.fetcher(&setup.reference()).unwrap();
    let cases = [(404, ErrorKind::NotFound), (401, ErrorKind::Unauthenticated), (403, ErrorKind::PermissionDenied)];
    for (status, expected) in cases {
        setup.registry.set_fault(&target.digest, Fault::Status(status)).times(1);
        assert_eq!(kind_of(&setup, fetcher.fetch(&target, 0).await.map(|_| ())), expected);
    }
}

#[tokio::test]
async fn stalls_and_trickles_end_and_what_came_before_is_kept() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    setup.registry.set_fault(&target.digest, Fault::StallAfter(60_000)).times(1);
    assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.blob.bytes);
    setup.registry.set_fault(&target.digest, Fault::Trickle(Duration::from_millis(20)));
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &target, 0).await), ErrorKind::DeadlineExceeded);
}
