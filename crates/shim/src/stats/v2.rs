//! Version 2: one directory (Documentation/admin-guide/cgroup-v2.rst).

use wharf_api::io::containerd::cgroups::v2::{CpuStat, IoEntry, IoStat, MemoryEvents, MemoryStat, Metrics, PidsStat};

use crate::cgroup::{Cgroup, keyed, number};

pub(super) fn metrics(cgroup: &Cgroup) -> Metrics {
    Metrics {
        pids: Some(PidsStat {
            current: cgroup.number("pids", "pids.current"),
            limit: Some(cgroup.number("pids", "pids.max")).filter(|l| *l != u64::MAX).unwrap_or(0),
        }),
        cpu: Some(cpu(cgroup)),
        memory: Some(memory(cgroup)),
        io: Some(IoStat { usage: io(cgroup), psi: None }),
        memory_events: cgroup.read("memory", "memory.events").map(|t| MemoryEvents {
            low: keyed(&t, "low"),
            high: keyed(&t, "high"),
            max: keyed(&t, "max"),
            oom: keyed(&t, "oom"),
            oom_kill: keyed(&t, "oom_kill"),
            oom_group_kill: keyed(&t, "oom_group_kill"),
        }),
        ..Metrics::default()
    }
}

fn cpu(cgroup: &Cgroup) -> CpuStat {
    let text = cgroup.read("cpu", "cpu.stat").unwrap_or_default();
    let get = |key: &str| keyed(&text, key);
    CpuStat {
        usage_usec: get("usage_usec"),
        user_usec: get("user_usec"),
        system_usec: get("system_usec"),
        nr_periods: get("nr_periods"),
        nr_throttled: get("nr_throttled"),
        throttled_usec: get("throttled_usec"),
        psi: None,
        nr_bursts: get("nr_bursts"),
        burst_usec: get("burst_usec"),
    }
}

fn memory(cgroup: &Cgroup) -> MemoryStat {
    let text = cgroup.read("memory", "memory.stat").unwrap_or_default();
    let get = |key: &str| keyed(&text, key);
    MemoryStat {
        anon: get("anon"),
        file: get("file"),
        kernel_stack: get("kernel_stack"),
        slab: get("slab"),
        sock: get("sock"),
        shmem: get("shmem"),
        file_mapped: get("file_mapped"),
        file_dirty: get("file_dirty"),
        file_writeback: get("file_writeback"),
        anon_thp: get("anon_thp"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        slab_reclaimable: get("slab_reclaimable"),
        slab_unreclaimable: get("slab_unreclaimable"),
        pgfault: get("pgfault"),
        pgmajfault: get("pgmajfault"),
        pgrefill: get("pgrefill"),
        pgscan: get("pgscan"),
        pgsteal: get("pgsteal"),
        pgactivate: get("pgactivate"),
        pgdeactivate: get("pgdeactivate"),
        pglazyfree: get("pglazyfree"),
        pglazyfreed: get("pglazyfreed"),
        thp_fault_alloc: get("thp_fault_alloc"),
        thp_collapse_alloc: get("thp_collapse_alloc"),
        usage: cgroup.number("memory", "memory.current"),
        usage_limit: cgroup.number("memory", "memory.max"),
        swap_usage: cgroup.number("memory", "memory.swap.current"),
        swap_limit: cgroup.number("memory", "memory.swap.max"),
        max_usage: cgroup.number("memory", "memory.peak"),
        ..MemoryStat::default()
    }
}

fn io(cgroup: &Cgroup) -> Vec<IoEntry> {
    let text = cgroup.read("io", "io.stat").unwrap_or_default();
    text.lines().filter_map(io_entry).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn io_entry(line: &str) -> Option<IoEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut entry = IoEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, ..IoEntry::default() };
    for (key, value) in words.filter_map(|w| w.split_once('=')) {
        match key {
            "rbytes" => entry.rbytes = number(value),
            "wbytes" => entry.wbytes = number(value),
            "rios" => entry.rios = number(value),
            "wios" => entry.wios = number(value),
            _ => {}
        }
    }
    Some(entry)
}
