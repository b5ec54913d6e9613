use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::read::{Error, Warning};
use super::*;

/// Files in a directory; the first is the main one.
fn files(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn read_in(dir: &TempDir) -> Result<(Config, Vec<Warning>), Error> {
    super::read(Some(&dir.path().join("x.toml")))
}

fn read(text: &str) -> Result<(Config, Vec<Warning>), Error> {
    read_in(&files(&[("x.toml", text)]))
}

#[test]
fn the_default_reads_as_itself() {
    let text = toml::to_string_pretty(&Config::default()).unwrap();
    let (config, warnings) = read(&text).unwrap();
    assert_eq!((config, warnings), (Config::default(), Vec::new()), "{text}");
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (text, line, words) in [
        ("version = 3\nroot = [", 2, "array"),
        ("root = '/x'\n\n[grpc]\nuid = 'me'\n", 4, "invalid type"),
        ("[grpc]\nuid = -1\n", 2, "invalid value"),
        ("[debug]\nlevel = 'loud'\n", 2, "unknown variant"),
        ("[plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = 'soon'\n", 2, "no duration"),
        ("\nversion = 9\n", 2, "version 9"),
        ("version = 1\n", 1, "2, 3 and 4"),
        ("version = 2\nstate = 'run'\n", 2, "absolute"),
        ("root = '/a'\n\nstate = '/a'\n", 3, "must be two"),
        ("[grpc]\naddress = '/s'\n[ttrpc]\nuid = 0\naddress = '/s'\n", 5, "sockets"),
        ("[grpc]\naddress = '/s'\nmax_recv_message_size = 10\n", 3, "65536"),
        ("version = 4\n[plugins.'io.containerd.server.v1.grpc']\nmax_recv_message_size = 10\n", 3, "65536"),
        ("version = 4\n[plugins.'io.containerd.server.v1.grpc']\n\nuid = 'me'\n", 4, "invalid type"),
        ("[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.9\n", 2, "0.5"),
        ("[proxy_plugins.x]\ntype = 'snapshot'\naddress = 'a'\n", 3, "absolute"),
        ("[proxy_plugins.x]\ntype = 'tea'\naddress = '/a'\n", 2, "unknown variant"),
        ("[proxy_plugins.native]\naddress = '/a'\ntype = 'snapshot'\n", 3, "choose another name"),
        ("\nrequired_plugins = ['io.containerd.snapshotter.v1.zfs']\n", 2, "none of that name"),
        (
            "required_plugins = ['io.containerd.snapshotter.v1.native']\ndisabled_plugins = ['io.containerd.snapshotter.v1.native']\n",
            1,
            "disabled too",
        ),
        (
            "[plugins.'io.containerd.transfer.v1.local']\nunpack_config = [{ snapshotter = 'zfs' }]\n",
            2,
            "no snapshotter",
        ),
        ("\u{0}\u{1}binary", 1, ""),
    ] {
        let dir = files(&[("x.toml", text)]);
        let error = read_in(&dir).map(drop).expect_err(text).to_string();
        let place = format!("configuration {}:{line}: ", dir.path().join("x.toml").display());
        assert!(error.starts_with(&place), "{text:?}: {error}");
        assert!(error.contains(words), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn what_dockerd_writes_is_taken() {
    let text = "version = 2\nroot = '/var/lib/docker/containerd/daemon'\nstate = '/run/docker/containerd/daemon'\n\
        plugin_dir = ''\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\nrequired_plugins = []\noom_score = -500\nimports = []\n\
        [grpc]\naddress = '/run/docker/containerd/containerd.sock'\ntcp_address = ''\ntcp_tls_cert = ''\n\
        tcp_tls_key = ''\nuid = 0\ngid = 0\nmax_recv_message_size = 16777216\nmax_send_message_size = 16777216\n\
        [ttrpc]\naddress = ''\nuid = 0\ngid = 0\n[metrics]\naddress = ''\ngrpc_histogram = false\n\
        [cgroup]\npath = ''\n[proxy_plugins]\n[plugins]\n[debug]\nlevel = ''\nformat = ''\nuid = 0\ngid = 0\n\
        address = '/run/docker/containerd/containerd-debug.sock'\n[timeouts]\n'io.containerd.timeout.shim.load' = '5s'\n";
    let (config, warnings) = read(text).unwrap();
    assert_eq!(config.ttrpc_address(), Path::new("/run/docker/containerd/containerd.sock.ttrpc"));
    assert_eq!(config.debug.level, Level::Info);
    assert!(warnings.len() == 2 && warnings.iter().all(|warning| warning.minor), "{warnings:?}");
}

#[test]
fn every_version_has_its_places() {
    for text in [
        "version = 2\n[grpc]\naddress = '/s'\ngid = 7\n[metrics]\naddress = '127.0.0.1:1'\n\
         [plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/certs'\n",
        "version = 3\n[grpc]\naddress = '/s'\ngid = 7\n[metrics]\naddress = '127.0.0.1:1'\n\
         [plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/certs'\n",
        "version = 4\n[plugins.'io.containerd.server.v1.grpc']\naddress = '/s'\ngid = 7\n\
         [plugins.'io.containerd.server.v1.metrics']\naddress = '127.0.0.1:1'\n\
         [plugins.'io.containerd.transfer.v1.local']\nconfig_path = '/certs'\n",
    ] {
        let (config, warnings) = read(text).expect(text);
        assert_eq!((config.grpc.address.as_path(), config.grpc.gid), (Path::new("/s"), 7), "{text}");
        assert_eq!(config.registry.config_path, "/certs", "{text}");
        let seen: Vec<_> = warnings.iter().map(|w| (w.key.as_str(), w.line > 1)).collect();
        assert_eq!(seen, [("metrics.address", true), ("registry.config_path", true)], "{text}");
    }
}

#[test]
fn what_is_not_known_is_warned_of_with_its_line() {
    let text = "version = 3\ncolour = 'red'\n[grpc]\naddress = '/a'\nport = 1\n\n[nonsense]\nx = 1\n\
        [plugins.'io.containerd.gc.v1.scheduler']\nschedule = 1\n[plugins.'com.example.mine']\n\
        [plugins.'io.containerd.cri.v1.runtime']\nenable_cdi = true\n[proxy_plugins.x]\ntype = 'snapshot'\n\
        address = '/a'\nexport = {}\n[timeouts]\n'io.wharf.timeout.tea' = '1s'\n\
        [plugins.'io.containerd.transfer.v1.local']\nunpack_config = [{ snapshotter = 'native', sugar = 1 }]\n\
        [plugins.'io.containerd.server.v1.grpc']\nmilk = 1\n";
    let dir = files(&[("x.toml", text)]);
    let (_, warnings) = read_in(&dir).unwrap();
    let seen: Vec<_> = warnings.iter().map(|w| (w.line, w.key.as_str())).collect();
    let wanted = [
        (2, "colour"),
        (5, "grpc.port"),
        (7, "nonsense"),
        (10, "plugins.io.containerd.gc.v1.scheduler.schedule"),
        (11, "plugins.com.example.mine"),
        (17, "proxy_plugins.x.export"),
        (19, "timeouts.io.wharf.timeout.tea"),
        (21, "plugins.io.containerd.transfer.v1.local.unpack_config.sugar"),
        (23, "plugins.io.containerd.server.v1.grpc.milk"),
    ];
    assert_eq!(seen, wanted);
    let place = dir.path().join("x.toml");
    assert!(warnings[1].to_string().contains(&format!("{}:5: grpc.port is not known", place.display())));
}

#[test]
fn later_files_count_over_earlier_ones() {
    let dir = files(&[
        (
            "x.toml",
            "version = 2\nimports = ['more/*.toml', 'one.toml']\nroot = '/main'\ndisabled_plugins = ['a']\n\
             [grpc]\naddress = '/main.sock'\ngid = 1\n",
        ),
        ("more/10.toml", "version = 3\nroot = '/ten'\ndisabled_plugins = ['a', 'b']\n[grpc]\ngid = 10\n"),
        // It names the main file, which is read already.
        ("more/20.toml", "imports = ['../x.toml']\nstate = '/twenty'\n[grpc]\ngid = 20\n"),
        ("more/.hidden.toml", "state = '/hidden'\n"),
        ("more/30.txt", "state = '/text'\n"),
        ("one.toml", "version = 4\n[plugins.'io.containerd.server.v1.grpc']\nuid = 5\n"),
        ("conf.d/last.toml", "[debug]\nlevel = 'warn'\n[grpc]\nodd = 1\n"),
    ]);
    let (config, warnings) = read_in(&dir).unwrap();
    assert_eq!((config.root.as_path(), config.state.as_path()), (Path::new("/ten"), Path::new("/twenty")));
    assert_eq!(config.grpc.address, Path::new("/main.sock"));
    assert_eq!((config.grpc.gid, config.grpc.uid, config.debug.level), (20, 5, Level::Warn));
    assert_eq!(config.disabled_plugins, ["a", "b"]);
    let seen: Vec<_> = warnings.iter().map(|w| (w.path.as_path(), w.line)).collect();
    assert_eq!(seen, [(dir.path().join("conf.d/last.toml").as_path(), 4)]);
}

#[test]
fn what_is_wrong_in_an_import_is_named_there() {
    let dir = files(&[("x.toml", "imports = ['y.toml']\n"), ("y.toml", "\nroot = 'relative'\n")]);
    let error = read_in(&dir).map(drop).unwrap_err().to_string();
    assert!(error.contains(&format!("{}:2: ", dir.path().join("y.toml").display())), "{error}");
    let dir = files(&[("x.toml", "imports = ['y.toml']\n")]);
    let error = read_in(&dir).map(drop).unwrap_err().to_string();
    assert!(error.contains(&format!("read configuration {}", dir.path().join("y.toml").display())), "{error}");
}

#[test]
fn every_key_is_explained() {
    fn keys(table: &toml::Table, above: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            let key = if key.contains('.') { format!("{key:?}") } else { key.clone() };
            let path = if above.is_empty() { key } else { format!("{above}.{key}") };
            match value.as_table() {
                // Their keys are names that the user chooses.
                Some(inner) if !["runtimes", "proxy_plugins"].contains(&path.as_str()) => keys(inner, &path, found),
                _ => found.push(path),
            }
        }
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md")).unwrap();
    let mut found = Vec::new();
    keys(&toml::Table::try_from(Config::default()).unwrap(), "", &mut found);
    let missing: Vec<_> = found.iter().filter(|key| !page.contains(&format!("`{key}"))).collect();
    assert!(missing.is_empty(), "not in docs/configuration.md: {missing:?}");
}
