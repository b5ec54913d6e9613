//! Mounts below one directory, and their records.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use wharf_metadata::{Activation, Activations, ActiveMount};
use wharf_types::{ErrorKind, Filters, Kind as _, Mount, Namespace};

use crate::busy::Busy;
use crate::plan::Plan;
use crate::{Activate, Error, MountManager, Result, place};

/// Makes mounts at `<directory>/<number>/<n>`.
///
/// A record is written once everything is mounted and removed before anything is unmounted: a directory that no record names, and
/// nobody works on, is what a crash or the collector left, and [`Mounts::sweep`] clears it.
pub struct Mounts {
    directory: PathBuf,
    records: Arc<dyn Activations>,
    /// Names that are activated or deactivated now.
    names: Busy<(Namespace, String)>,
    /// Directories that somebody fills or clears now.
    numbers: Busy<u64>,
}

impl Mounts {
    /// Opens the directory, and brings it and the records to say the same: what is still mounted is taken up again, what is not has
    /// no record, and what has no record is unmounted.
    ///
    /// # Errors
    /// When the directory cannot be made or the records cannot be read or written.
    pub fn open(directory: impl Into<PathBuf>, records: Arc<dyn Activations>) -> Result<Self> {
        let directory = directory.into();
        match place::make(&directory) {
            Err(_) if directory.is_dir() => {}
            made => made?,
        }
        let mounts = Self { directory, records, names: Busy::default(), numbers: Busy::default() };
        mounts.restore()?;
        mounts.sweep()?;
        Ok(mounts)
    }

    /// Removes the records of what is not mounted any more, as after the machine was started again.
    fn restore(&self) -> Result<()> {
        for (namespace, activation) in self.records.all()? {
            // What cannot be looked at may be there.
            let gone = |active: &&ActiveMount| matches!(place::is_there(Path::new(&active.point)), Ok(false));
            let gone = activation.active.iter().find(gone);
            if let Some(gone) = gone {
                tracing::info!(%namespace, name = activation.name, point = gone.point, "not mounted any more");
                self.records.delete(&namespace, &activation.name)?;
            }
        }
        Ok(())
    }

    /// Unmounts what has no record, as after a collection. What cannot be unmounted stays for the next time.
    ///
    /// # Errors
    /// When the directory or the records cannot be read.
    pub fn sweep(&self) -> Result<()> {
        let listed = place::numbers(&self.directory);
        let listed = listed.map_err(|e| wharf_sys::Error::io("list", &self.directory, e))?;
        // In this order: one that nobody works on any more has its record by now, or never will.
        let mut idle: Vec<_> = listed.into_iter().filter_map(|number| self.numbers.try_hold(number)).collect();
        if idle.is_empty() {
            return Ok(());
        }
        let kept: HashSet<u64> = self.records.all()?.into_iter().map(|(_, activation)| activation.number).collect();
        idle.retain(|held| !kept.contains(&held.key));
        for held in idle {
            match place::clear(&self.place(held.key)) {
                Ok(()) => tracing::debug!(number = held.key, "unmounted what has no record"),
                Err(error) => tracing::warn!(%error, "a mount without record stays"),
            }
        }
        Ok(())
    }

    fn place(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// Mounts in a directory of its own, and keeps the record of it.
    fn mount(&self, ns: &Namespace, asked: Activate, plan: Plan, number: u64) -> Result<Activation> {
        let place = self.place(number);
        place::make(&place)?;
        let mut active: Vec<ActiveMount> = Vec::with_capacity(plan.here.len());
        for step in plan.here {
            let mount = step.fill(&asked.name, &active)?;
            let point = place::add(&place, active.len(), &mount)?.display().to_string();
            active.push(ActiveMount { mount, point, mounted_at: SystemTime::now() });
        }
        let left = plan.left.into_iter().map(|step| step.fill(&asked.name, &active));
        let mut system = left.collect::<Result<Vec<_>>>()?;
        if let Some(last) = active.last().filter(|_| asked.temporary) {
            let (kind, options) = ("bind".to_owned(), vec!["rbind".to_owned()]);
            system.push(Mount { kind, source: last.point.clone(), target: String::new(), options });
        }
        let Activate { name, labels, lease, .. } = asked;
        let created_at = SystemTime::now();
        let activation = Activation { name, labels, lease, number, active, system, created_at };
        Ok(self.records.create(ns, activation)?)
    }
}

impl MountManager for Mounts {
    fn activate(&self, ns: &Namespace, asked: Activate) -> Result<Activation> {
        let plan = Plan::of(&asked)?;
        let _name = self.names.hold((ns.clone(), asked.name.clone()));
        match self.records.get(ns, &asked.name) {
            Ok(_) => return Err(wharf_metadata::Error::AlreadyExists { what: "mount", name: asked.name }.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let number = self.numbers.hold(self.records.number()?);
        let made = self.mount(ns, asked, plan, number.key);
        if made.is_err()
            && let Err(error) = place::clear(&self.place(number.key))
        {
            // The first failure is the one to tell of; the next sweep tries again.
            tracing::warn!(%error, "a mount that failed is not cleared");
        }
        made
    }

    fn deactivate(&self, ns: &Namespace, name: &str) -> Result<()> {
        let _name = self.names.hold((ns.clone(), name.to_owned()));
        let activation = self.records.get(ns, name)?;
        let number = self.numbers.hold(activation.number);
        self.records.delete(ns, name)?;
        place::clear(&self.place(number.key)).map_err(Error::from)
    }

    fn info(&self, ns: &Namespace, name: &str) -> Result<Activation> {
        Ok(self.records.get(ns, name)?)
    }

    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Activation>> {
        Ok(self.records.list(ns, filters)?)
    }
}
