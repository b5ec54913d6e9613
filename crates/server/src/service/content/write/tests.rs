use tonic::Code;
use wharf_content::LocalStore;

use super::*;

const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn store() -> (tempfile::TempDir, LocalStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    (dir, store)
}

fn request(action: WriteAction, offset: i64, data: &'static [u8]) -> WriteContentRequest {
    WriteContentRequest { action: action.into(), r#ref: "r".into(), offset, data: data.into(), ..Default::default() }
}

/// Sends each request to one ingest and returns the last answer.
fn run(store: &LocalStore, requests: &[WriteContentRequest]) -> Result<WriteContentResponse, Status> {
    let mut open = Open::begin(store, requests.first().unwrap())?;
    let mut last = Ok(WriteContentResponse::default());
    for request in requests {
        last = Ok(open.answer(store, request.clone())?);
    }
    last
}

#[test]
fn a_blob_is_written_in_pieces_and_committed() {
    let (_dir, store) = store();
    let answer =
        run(&store, &[request(WriteAction::Write, 0, b"he"), request(WriteAction::Commit, 2, b"llo")]).unwrap();
    assert_eq!((answer.offset, answer.digest.as_str()), (5, HELLO));
    assert_eq!(store.info(&HELLO.parse().unwrap()).unwrap().size, 5);
}

#[test]
fn a_client_that_vanished_goes_on_where_it_was() {
    let (_dir, store) = store();
    run(&store, &[request(WriteAction::Write, 0, b"he")]).unwrap();
    let stands = run(&store, &[request(WriteAction::Stat, 0, b"")]).unwrap();
    assert_eq!(stands.offset, 2);
    assert!(stands.started_at.is_some() && stands.updated_at.is_some());
    let commit = [request(WriteAction::Stat, 0, b""), request(WriteAction::Commit, 2, b"llo")];
    assert_eq!(run(&store, &commit).unwrap().digest, HELLO);
}

#[test]
fn an_offset_is_where_the_ingest_stands_or_begins_it_again() {
    let (_dir, store) = store();
    let gap = [request(WriteAction::Write, 0, b"he"), request(WriteAction::Write, 3, b"lo")];
    assert_eq!(run(&store, &gap).unwrap_err().code(), Code::OutOfRange);
    let ahead = [request(WriteAction::Write, 9, b"x")];
    assert_eq!(run(&store, &ahead).unwrap_err().code(), Code::OutOfRange);
    let again = run(&store, &[request(WriteAction::Commit, 0, b"hello")]).unwrap();
    assert_eq!(again.digest, HELLO);
    assert_eq!(run(&store, &[request(WriteAction::Write, -1, b"x")]).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let (_dir, store) = store();
    run(&store, &[request(WriteAction::Commit, 0, b"hello")]).unwrap();
    let expected = WriteContentRequest { expected: HELLO.into(), ..request(WriteAction::Stat, 0, b"") };
    assert_eq!(run(&store, std::slice::from_ref(&expected)).unwrap_err().code(), Code::AlreadyExists);
    let late = [request(WriteAction::Write, 0, b"he"), expected];
    assert_eq!(run(&store, &late).unwrap_err().code(), Code::AlreadyExists);
    assert!(store.status("r").is_err(), "the ingest is gone");
}

#[test]
fn what_is_not_as_expected_is_refused_and_stays_an_ingest() {
    let (_dir, store) = store();
    let digest = WriteContentRequest { expected: HELLO.into(), ..request(WriteAction::Commit, 0, b"jello") };
    assert_eq!(run(&store, &[digest]).unwrap_err().code(), Code::FailedPrecondition);
    let size = WriteContentRequest { total: 4, ..request(WriteAction::Commit, 0, b"hello") };
    assert_ne!(run(&store, &[size]).unwrap_err().code(), Code::Unknown);
    assert!(store.info(&HELLO.parse().unwrap()).is_err());
    for (reference, expected) in [("", ""), ("r", "sha256:../.."), ("r", "md5:00")] {
        let odd = WriteContentRequest {
            r#ref: reference.into(),
            expected: expected.into(),
            ..request(WriteAction::Stat, 0, b"")
        };
        assert_eq!(run(&store, &[odd]).unwrap_err().code(), Code::InvalidArgument);
    }
}
