//! Uploads: what is known of them, and that a conversation takes each once.

use holdpoint_model::{ExecutionId, UploadId, UserId};
use holdpoint_store::{CreateOutcome, NewUpload, StoreError, TakeUpload, Upload, UploadBegun, UploadQuota};

use crate::support::*;

const QUOTA: UploadQuota = UploadQuota { files: 3, bytes: 100 };

async fn begin(bench: &Bench, owner: UserId, size_bytes: u64) -> UploadBegun {
    let new = NewUpload { id: UploadId(fresh()), owner, name: "a.txt".into(), size_bytes };
    bench.store.begin_upload(new, QUOTA).await.expect("begin")
}

async fn begun(bench: &Bench, owner: UserId, size_bytes: u64) -> Upload {
    match begin(bench, owner, size_bytes).await {
        UploadBegun::Begun(upload) => upload,
        other => panic!("{other:?}"),
    }
}

async fn whole(bench: &Bench, owner: UserId, size_bytes: u64) -> Upload {
    let upload = begun(bench, owner, size_bytes).await;
    bench.store.upload_received(upload.id, size_bytes).await.expect("received");
    bench.store.upload(upload.id).await.expect("read").expect("there")
}

async fn create(bench: &Bench, owner: UserId, ids: &[UploadId]) -> Result<ExecutionId, StoreError> {
    let execution = ExecutionId(fresh());
    let take = |id: &UploadId| TakeUpload { id: *id, owner, place: format!("attachments/{id}") };
    let uploads = ids.iter().map(take).collect();
    let created = created("with files", "ada");
    let made =
        bench.store.create_with_uploads(execution, created, "do it".into(), vec![], uploads, None).await?;
    assert!(matches!(made, CreateOutcome::New(_)));
    Ok(execution)
}

#[tokio::test]
async fn what_has_come_is_never_less_than_it_was() {
    let mut bench = Bench::new().await;
    let owner = UserId(fresh());
    let upload = begun(&bench, owner, 10).await;
    assert_eq!((upload.received_bytes, upload.is_whole()), (0, false));
    bench.clock.advance(5);
    bench.store.upload_received(upload.id, 7).await.expect("noted");
    bench.store.upload_received(upload.id, 3).await.expect("noted");
    bench.store.upload_received(upload.id, 11).await.expect_err("longer than itself");
    bench.reopen().await;
    let now = bench.store.upload(upload.id).await.expect("read").expect("there");
    assert_eq!((now.received_bytes, now.changed_at), (7, START + 5));
    assert_eq!(bench.store.uploads(owner).await.expect("list"), [now]);
    assert_eq!(bench.store.uploads(UserId(fresh())).await.expect("list"), []);
}

#[tokio::test]
async fn one_person_has_so_many_and_so_much() {
    let bench = Bench::new().await;
    let (ada, grace) = (UserId(fresh()), UserId(fresh()));
    let first = begun(&bench, ada, 60).await;
    assert_eq!(begin(&bench, ada, 41).await, UploadBegun::TooLong { open_bytes: 60 });
    begun(&bench, ada, 40).await;
    begun(&bench, ada, 0).await;
    assert_eq!(begin(&bench, ada, 0).await, UploadBegun::TooMany);
    begun(&bench, grace, 100).await;
    assert!(bench.store.forget_upload(first.id).await.expect("forget"));
    assert!(!bench.store.forget_upload(first.id).await.expect("forget"));
    begun(&bench, ada, 60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_conversations_one_takes_an_upload() {
    let bench = std::sync::Arc::new(Bench::new().await);
    let owner = UserId(fresh());
    let upload = whole(&bench, owner, 5).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let bench = std::sync::Arc::clone(&bench);
        tasks.spawn(async move { create(&bench, owner, &[upload.id]).await });
    }
    let outcomes = tasks.join_all().await;
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1);
    let lost =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Missing { what: "upload" })));
    assert_eq!(lost.count(), 11);
    let taken = bench.store.uploads_taken(Some(*winners[0])).await.expect("taken");
    assert_eq!(taken.len(), 1);
    assert_eq!(bench.store.uploads_taken(None).await.expect("taken"), taken);
    assert!(!bench.store.forget_upload(upload.id).await.expect("forget"), "it is the conversation's now");
    bench.store.upload_is_there(upload.id).await.expect("there");
    assert_eq!(bench.store.upload(upload.id).await.expect("read"), None);
}

#[tokio::test]
async fn a_conversation_takes_all_or_is_not_created() {
    let bench = Bench::new().await;
    let (ada, grace) = (UserId(fresh()), UserId(fresh()));
    let (good, half, foreign) =
        (whole(&bench, ada, 5).await, begun(&bench, ada, 5).await, whole(&bench, grace, 5).await);
    for bad in [half.id, foreign.id, UploadId(fresh())] {
        let refused = create(&bench, ada, &[good.id, bad]).await;
        assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
    }
    create(&bench, ada, &[good.id, good.id]).await.expect_err("twice");
    assert_eq!(bench.store.upload(good.id).await.expect("read"), Some(good.clone()), "nobody has it");
    assert_eq!(bench.store.uploads_taken(None).await.expect("taken"), []);
    create(&bench, ada, &[good.id]).await.expect("created");
}

#[tokio::test]
async fn what_nobody_goes_on_with_is_forgotten() {
    let bench = Bench::new().await;
    let owner = UserId(fresh());
    let (old, taken) = (begun(&bench, owner, 5).await, whole(&bench, owner, 5).await);
    create(&bench, owner, &[taken.id]).await.expect("created");
    bench.clock.advance(1_000);
    let new = begun(&bench, owner, 5).await;
    assert_eq!(bench.store.forget_uploads_before(START + 1_000).await.expect("forget"), [old.id]);
    assert_eq!(bench.store.uploads(owner).await.expect("list"), [new]);
    assert_eq!(bench.store.uploads_taken(None).await.expect("taken").len(), 1);
}
