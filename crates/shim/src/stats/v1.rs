//! Version 1: one directory a controller (Documentation/admin-guide/cgroup-v1).

use wharf_api::io::containerd::cgroups::v1::{
    BlkIoEntry, BlkIoStat, CpuStat, CpuUsage, MemoryEntry, MemoryOomControl, MemoryStat, Metrics, PidsStat, Throttle,
};

use crate::cgroup::{Cgroup, keyed, number};

/// Nanoseconds in one tick of `cpuacct.stat` (USER_HZ is 100 on every architecture that containers run on).
const TICK: u64 = 10_000_000;

pub(super) fn metrics(cgroup: &Cgroup) -> Metrics {
    Metrics {
        pids: Some(PidsStat {
            current: cgroup.number("pids", "pids.current"),
            // containerd has 0 for no limit here.
            limit: Some(cgroup.number("pids", "pids.max")).filter(|l| *l != u64::MAX).unwrap_or(0),
        }),
        cpu: Some(cpu(cgroup)),
        memory: Some(memory(cgroup)),
        blkio: Some(blkio(cgroup)),
        memory_oom_control: cgroup.read("memory", "memory.oom_control").map(|t| MemoryOomControl {
            oom_kill_disable: keyed(&t, "oom_kill_disable"),
            under_oom: keyed(&t, "under_oom"),
            oom_kill: keyed(&t, "oom_kill"),
        }),
        ..Metrics::default()
    }
}

fn cpu(cgroup: &Cgroup) -> CpuStat {
    let ticks = cgroup.read("cpuacct", "cpuacct.stat").unwrap_or_default();
    let per_cpu = cgroup.read("cpuacct", "cpuacct.usage_percpu").unwrap_or_default();
    let throttling = cgroup.read("cpu", "cpu.stat").unwrap_or_default();
    CpuStat {
        usage: Some(CpuUsage {
            total: cgroup.number("cpuacct", "cpuacct.usage"),
            kernel: keyed(&ticks, "system").saturating_mul(TICK),
            user: keyed(&ticks, "user").saturating_mul(TICK),
            per_cpu: per_cpu.split_whitespace().map(number).collect(),
        }),
        throttling: Some(Throttle {
            periods: keyed(&throttling, "nr_periods"),
            throttled_periods: keyed(&throttling, "nr_throttled"),
            throttled_time: keyed(&throttling, "throttled_time"),
        }),
    }
}

fn entry(cgroup: &Cgroup, prefix: &str) -> Option<MemoryEntry> {
    let file = |name: &str| cgroup.number("memory", &format!("memory.{prefix}{name}"));
    cgroup.read("memory", &format!("memory.{prefix}usage_in_bytes"))?;
    Some(MemoryEntry {
        limit: file("limit_in_bytes"),
        usage: file("usage_in_bytes"),
        max: file("max_usage_in_bytes"),
        failcnt: file("failcnt"),
    })
}

fn memory(cgroup: &Cgroup) -> MemoryStat {
    let text = cgroup.read("memory", "memory.stat").unwrap_or_default();
    let get = |key: &str| keyed(&text, key);
    MemoryStat {
        cache: get("cache"),
        rss: get("rss"),
        rss_huge: get("rss_huge"),
        mapped_file: get("mapped_file"),
        dirty: get("dirty"),
        writeback: get("writeback"),
        pg_pg_in: get("pgpgin"),
        pg_pg_out: get("pgpgout"),
        pg_fault: get("pgfault"),
        pg_maj_fault: get("pgmajfault"),
        inactive_anon: get("inactive_anon"),
        active_anon: get("active_anon"),
        inactive_file: get("inactive_file"),
        active_file: get("active_file"),
        unevictable: get("unevictable"),
        hierarchical_memory_limit: get("hierarchical_memory_limit"),
        hierarchical_swap_limit: get("hierarchical_memsw_limit"),
        total_cache: get("total_cache"),
        total_rss: get("total_rss"),
        total_rss_huge: get("total_rss_huge"),
        total_mapped_file: get("total_mapped_file"),
        total_dirty: get("total_dirty"),
        total_writeback: get("total_writeback"),
        total_pg_pg_in: get("total_pgpgin"),
        total_pg_pg_out: get("total_pgpgout"),
        total_pg_fault: get("total_pgfault"),
        total_pg_maj_fault: get("total_pgmajfault"),
        total_inactive_anon: get("total_inactive_anon"),
        total_active_anon: get("total_active_anon"),
        total_inactive_file: get("total_inactive_file"),
        total_active_file: get("total_active_file"),
        total_unevictable: get("total_unevictable"),
        usage: entry(cgroup, ""),
        swap: entry(cgroup, "memsw."),
        kernel: entry(cgroup, "kmem."),
        kernel_tcp: entry(cgroup, "kmem.tcp."),
    }
}

fn blkio(cgroup: &Cgroup) -> BlkIoStat {
    let entries = |names: [&str; 2]| {
        let text = names.iter().find_map(|n| cgroup.read("blkio", n).filter(|t| t.contains(':')));
        text.map(|t| t.lines().filter_map(blkio_entry).collect()).unwrap_or_default()
    };
    BlkIoStat {
        io_service_bytes_recursive: entries(["blkio.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"]),
        io_serviced_recursive: entries(["blkio.io_serviced_recursive", "blkio.throttle.io_serviced"]),
        ..BlkIoStat::default()
    }
}

/// `8:0 Read 4096`
fn blkio_entry(line: &str) -> Option<BlkIoEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (op, value) = (words.next()?.to_owned(), words.next()?);
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    Some(BlkIoEntry { op, device: String::new(), major, minor, value: number(value) })
}
