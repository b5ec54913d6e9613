use wharf_diff::bundle;
use wharf_testkit::image::{Index, platform};

use super::*;

impl Setup {
    fn exporter(&self) -> Exporter {
        Exporter { content: self.content.clone(), platforms: Vec::new(), docker: true, skip_foreign: false }
    }

    fn importer(&self) -> Importer {
        let unpack = vec![("overlayfs".to_owned(), self.snapshots.clone())];
        Importer { content: self.content.clone(), applier: Arc::new(LayerApplier::new()), unpack, compress: false }
    }

    async fn import(&self, archive: Vec<u8>) -> Result<Imported> {
        let bytes = Box::new(std::io::Cursor::new(archive));
        self.importer().import(bytes, &options(), Arc::new(|_| {})).await
    }
}

/// An archive of an image that was pulled, and the image.
async fn exported(image: &Image) -> (Setup, Descriptor, Vec<u8>) {
    let setup = setup().await;
    let target = setup.registry.put_image(REPOSITORY, "latest", image);
    setup.pull().await.unwrap();
    let mut archive = Vec::new();
    let named = [("docker.io/library/image:v1".to_owned(), target.clone())];
    setup.exporter().export(&named, &mut archive, &(Arc::new(|_| {}) as Report)).unwrap();
    (setup, target, archive)
}

#[tokio::test]
async fn what_is_exported_is_imported_and_unpacked() {
    let (from, target, archive) = exported(&image()).await;
    let to = setup().await;
    let imported = to.import(archive).await.unwrap();
    assert_eq!(imported.images.len(), 1);
    let image = &imported.images[0];
    assert_eq!(
        (&image.digest, image.annotations["io.containerd.image.name"].as_str()),
        (&target.digest, "docker.io/library/image:v1")
    );
    let chain = |setup: &Setup| {
        let mut committed = setup.all().into_iter().filter(|(_, kind)| *kind == Kind::Committed);
        committed.find_map(|(name, _)| {
            let tree = setup.tree(&name.parse().unwrap());
            tree.contains_key("opt/again").then_some(tree)
        })
    };
    assert_eq!(chain(&to).unwrap(), chain(&from).unwrap());
    assert_eq!(to.labels(&imported.index.digest)["containerd.io/gc.ref.content.m.0"], target.digest.to_string());
    assert!(to.labels(&target.digest).contains_key("containerd.io/gc.ref.content.l.2"));
    to.no_ingests_are_open();
    // The same again finds all there.
    let (_, _, archive) = exported(&self::image()).await;
    assert_eq!(to.import(archive).await.unwrap(), imported);
}

/// The archive with one file changed; nothing for a file that is left out.
fn changed(archive: &[u8], change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = bundle::Writer::new(Vec::new());
    bundle::read::<wharf_diff::Error>(&mut &*archive, |members| {
        while let Some(member) = members.next_member()? {
            let bundle::MemberKind::File(_) = member.kind else { continue };
            let mut bytes = Vec::new();
            members.contents::<wharf_diff::Error>(|piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            let name = String::from_utf8(member.path).unwrap();
            if let Some(bytes) = change(&name, bytes) {
                out.file(&name, bytes.len() as u64)?;
                out.contents(&bytes)?;
            }
        }
        Ok(())
    })
    .unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn a_bad_archive_is_refused_and_nothing_is_unpacked() {
    let (_from, target, archive) = exported(&image()).await;
    let layer = image().layers[1].digest.hex().to_owned();
    let without = |name: &'static str| changed(&archive, move |path, bytes| (path != name).then_some(bytes));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("neither", b"no archive at all, but long enough to have a header: ".repeat(20)),
        ("neither oci-layout", changed(&archive, |path, bytes| path.starts_with("blobs").then_some(bytes))),
        ("without index.json", without("index.json")),
        ("it lacks layer", changed(&archive, |path, bytes| (!path.ends_with(&layer)).then_some(bytes))),
        ("it lacks manifest", changed(&archive, |path, bytes| (!path.ends_with(target.digest.hex())).then_some(bytes))),
        (
            "not what its name says",
            changed(&archive, |path, mut bytes| {
                if path.ends_with(&layer) {
                    bytes[0] ^= 1;
                }
                Some(bytes)
            }),
        ),
        (
            "version",
            changed(&archive, |path, bytes| {
                Some(if path == "oci-layout" { br#"{"imageLayoutVersion":"9"}"#.to_vec() } else { bytes })
            }),
        ),
        ("it ends", archive[..archive.len() / 2].to_vec()),
    ];
    for (word, bad) in cases {
        let setup = setup().await;
        let error = setup.import(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{word}: {error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
        setup.no_snapshots();
        assert!(setup.content.statuses(&Filters::default()).unwrap().is_empty(), "{word} left an ingest");
    }
}

#[tokio::test]
async fn docker_archives_become_manifests() {
    let image = image();
    let (_from, _, archive) = exported(&image).await;
    // What `docker save` writes has no layout, and layers that are not compressed.
    let saved = changed(&archive, |path, bytes| (!matches!(path, "oci-layout" | "index.json")).then_some(bytes));
    let setup = setup().await;
    let imported = setup.import(saved.clone()).await.unwrap();
    let found = &imported.images[0];
    assert_eq!(found.annotations["io.containerd.image.name"], "docker.io/library/image:v1");
    assert_eq!(found.media_type, wharf_types::media::DOCKER_MANIFEST);
    assert!(setup.content.info(&image.config.digest).is_ok());
    // The third layer is the one that is not compressed.
    let importer = Importer { compress: true, ..setup.importer() };
    let compressed =
        importer.import(Box::new(std::io::Cursor::new(saved)), &options(), Arc::new(|_| {})).await.unwrap();
    assert_ne!(compressed.images[0].digest, found.digest);
    setup.no_ingests_are_open();
}

#[tokio::test]
async fn of_several_platforms_those_that_are_wanted_are_taken() {
    let here = host_platform().architecture;
    let for_platform = |architecture: &str| {
        let layer = Layer::new().file("for", 0o644, architecture.as_bytes());
        Image::builder().layer(layer, Compression::Gzip).platform(platform(architecture)).build()
    };
    let setup = setup().await;
    let index = Index::new(vec![for_platform("s390x"), for_platform(&here)]);
    let target = setup.registry.put_index(REPOSITORY, "latest", &index);
    setup.pull().await.unwrap();
    let named = [("a.io/b:v1".to_owned(), target.clone())];
    let report: Report = Arc::new(|_| {});
    let error = setup.exporter().export(&named, &mut Vec::new(), &report).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "only one platform was pulled: {error}");
    let (mut archive, one) = (Vec::new(), Exporter { platforms: vec![Platform::host()], ..setup.exporter() });
    one.export(&named, &mut archive, &report).unwrap();
    let other = self::setup().await;
    let imported = other.import(archive).await.unwrap();
    assert_eq!(imported.images[0].digest, target.digest);
    let missing = other.content.info(&index.images[0].manifest.digest);
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn manifests_of_other_platforms_are_fetched_where_that_is_wanted() {
    let here = host_platform().architecture;
    let for_platform = |architecture: &str| {
        let layer = Layer::new().file("for", 0o644, architecture.as_bytes());
        Image::builder().layer(layer, Compression::Gzip).platform(platform(architecture)).build()
    };
    let setup = setup().await;
    let index = Index::new(vec![for_platform("s390x"), for_platform(&here)]);
    setup.registry.put_index(REPOSITORY, "latest", &index);
    setup.pull_with(&Options { all_metadata: true, ..options() }).await.unwrap();
    let other = &index.images[0];
    assert!(setup.content.info(&other.manifest.digest).is_ok() && setup.content.info(&other.config.digest).is_ok());
    assert!(setup.content.info(&other.layers[0].digest).is_err());
}
