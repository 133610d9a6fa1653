//! The service in a simulated world, and its lives from one death to the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::policy::Policy;
use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::PoolConfig;
use plumbline_service::defences::Defences;
use plumbline_service::time::{Clock, SteadyClock, high_water};
use plumbline_service::{EvidenceTerms, PasswordCost, Service, ServiceConfig, ServiceParts};
use plumbline_store::{Store, StoreOptions};
use tempfile::TempDir;

use crate::SimulationError;
use crate::crash::{Coverage, Crashes};
use crate::judge::WeighingJudge;
use crate::model::SimulatedModels;
use crate::plan::Scale;
use crate::rng::{Rng, SeededEntropy};

/// When every simulation begins, milliseconds since 1970.
const BEGINNING: i64 = 1_790_000_000_000;

/// Memory that is used as a disk, where there is such; deaths are simulated, so nothing needs to
/// outlive the machine.
const MEMORY_DISK: &str = "/dev/shm";

/// The clocks of the simulated machine, which move when told.
#[derive(Debug)]
pub(crate) struct MachineClocks {
    /// What the machine believes the time to be.
    wall_millis: AtomicI64,
    /// Time since some moment; nobody can set it.
    monotonic_micros: AtomicI64,
}

impl MachineClocks {
    /// Lets time pass.
    pub(crate) fn pass(&self, millis: i64) {
        self.wall_millis.fetch_add(millis, Ordering::SeqCst);
        self.monotonic_micros
            .fetch_add(millis * 1_000, Ordering::SeqCst);
    }

    /// Sets the wall clock forward, or back, by so much; no time passes.
    pub(crate) fn set_by(&self, millis: i64) {
        self.wall_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// The service's own clock on these, as of a new process that must not go back before a moment.
    fn steady(self: &Arc<Self>, not_before: i64) -> SteadyClock {
        let (wall, monotonic) = (Arc::clone(self), Arc::clone(self));
        SteadyClock::new(
            Box::new(move || wall.wall_millis.load(Ordering::SeqCst)),
            Box::new(move || monotonic.monotonic_micros.load(Ordering::SeqCst)),
            not_before,
        )
    }
}

/// What runs now.
struct Life {
    clock: Arc<SteadyClock>,
    // Dropped in this order: the service lets go of the store first.
    service: Service,
    store: Store,
}

/// When the writing process dies, which may be before it has started, and where it leaves its files.
struct End {
    crashes: Arc<Crashes>,
    copy: PathBuf,
}

/// Everything round the service that outlives its deaths.
pub(crate) struct World {
    life: Option<Life>,
    end: Option<End>,
    folder: TempDir,
    lives: u32,
    pub(crate) clock: Arc<MachineClocks>,
    entropy: Arc<SeededEntropy>,
    pub(crate) models: Arc<SimulatedModels>,
    rng: Rng,
    commits_of_a_life: u32,
    defences: Defences,
    coverage: Coverage,
}

impl World {
    /// A service on an empty database.
    pub(crate) fn new(
        seed: u64,
        scale: &Scale,
        defences: Defences,
    ) -> Result<Self, SimulationError> {
        let builder = tempfile::Builder::new();
        let folder = builder
            .tempdir_in(MEMORY_DISK)
            .or_else(|_| builder.tempdir())?;
        // Each action makes about one commit, each person one, and jobs as many as both.
        let commits = scale.actors + 2 * scale.turns * scale.actions;
        let mut world = Self {
            life: None,
            end: None,
            folder,
            lives: 0,
            clock: Arc::new(MachineClocks {
                wall_millis: AtomicI64::new(BEGINNING),
                monotonic_micros: AtomicI64::new(0),
            }),
            entropy: Arc::new(SeededEntropy::new(seed)),
            models: Arc::default(),
            rng: Rng::new(seed, "crashes"),
            commits_of_a_life: commits.checked_div(scale.crashes).unwrap_or(0) as u32,
            defences,
            coverage: Coverage::default(),
        };
        world.live()?;
        Ok(world)
    }

    fn database(&self, life: u32) -> PathBuf {
        self.folder.path().join(format!("{life}.db"))
    }

    fn open(&mut self) -> Result<Life, SimulationError> {
        let (path, copy) = (self.database(self.lives), self.database(self.lives + 1));
        let rng = Rng::new(self.rng.next(), "life");
        let crashes = Arc::new(Crashes::new(
            &path,
            &copy,
            rng,
            self.commits_of_a_life,
            self.coverage.clone(),
        ));
        self.end = Some(End {
            crashes: crashes.clone(),
            copy,
        });
        let options = StoreOptions {
            readers: 1,
            ..StoreOptions::default()
        };
        let store = Store::open_to_crash(&path, options, crashes)
            .map_err(|error| SimulationError::service("opened", error))?;
        let not_before =
            high_water(&store).map_err(|error| SimulationError::service("told the time", error))?;
        let clock = Arc::new(self.clock.steady(not_before));
        let ensemble = Ensemble::new(vec![Arc::new(WeighingJudge)], PoolConfig::default())
            .map_err(|error| SimulationError::service("given its judge", error))?;
        let parts = ServiceParts {
            store: store.clone(),
            ensemble: Arc::new(ensemble),
            host: self.models.clone(),
            signing_key: DecisionSigner::from_seed(&[7; 32]),
            first_policy: Policy::demo_toml().to_owned(),
            config: self.config(),
        };
        let service = Service::open_with(parts, clock.clone(), self.entropy.clone())
            .map_err(|error| SimulationError::service("started", error))?;
        Ok(Life {
            clock,
            service,
            store,
        })
    }

    fn config(&self) -> ServiceConfig {
        ServiceConfig {
            defences: self.defences,
            // Thousands of accounts that nobody attacks.
            password_cost: PasswordCost {
                memory_kib: 8,
                passes: 1,
            },
            // Disputes about exhibits are decided while their market still runs.
            evidence: EvidenceTerms {
                panel_window_ms: 120_000,
                ..EvidenceTerms::default()
            },
            ..ServiceConfig::default()
        }
    }

    /// The time, as the service has it.
    pub(crate) fn now(&self) -> i64 {
        self.life.as_ref().map_or(0, |life| life.clock.now())
    }

    /// The service that runs now.
    pub(crate) fn service(&self) -> Result<&Service, SimulationError> {
        self.life
            .as_ref()
            .map(|life| &life.service)
            .ok_or_else(|| SimulationError::service("used", "it is not running"))
    }

    /// Its store, to look at.
    pub(crate) fn store(&self) -> Result<&Store, SimulationError> {
        self.life
            .as_ref()
            .map(|life| &life.store)
            .ok_or_else(|| SimulationError::service("looked at", "it is not running"))
    }

    /// Whether the writing process has died.
    pub(crate) fn has_died(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| end.crashes.has_struck())
    }

    /// Starts a new process on what the dead one left.
    pub(crate) fn revive(&mut self) -> Result<(), SimulationError> {
        self.bury()?;
        self.live()
    }

    /// Starts a process. One may die while it starts: then the next one starts on what that one left.
    fn live(&mut self) -> Result<(), SimulationError> {
        loop {
            let opened = self.open();
            if self.has_died() {
                drop(opened);
                self.bury()?;
            } else {
                self.life = Some(opened?);
                return Ok(());
            }
        }
    }

    /// Lets go of the dead process, and removes what is not its last state.
    fn bury(&mut self) -> Result<(), SimulationError> {
        self.life = None;
        let Some(end) = self.end.take() else {
            return Ok(());
        };
        self.coverage = end.crashes.coverage();
        if !end.copy.exists() {
            return Err(SimulationError::service(
                "found again",
                "no files were left",
            ));
        }
        let old = self.database(self.lives);
        for ending in ["", "-wal", "-shm", ".lock"] {
            // What is not removed goes with the folder.
            let _ = std::fs::remove_file(format!("{}{ending}", old.display()));
        }
        self.lives += 1;
        Ok(())
    }

    /// Deaths so far.
    pub(crate) fn deaths(&self) -> u32 {
        self.lives
    }

    /// Where it died, and where it could have.
    pub(crate) fn coverage(&self) -> Coverage {
        self.end
            .as_ref()
            .map_or_else(|| self.coverage.clone(), |end| end.crashes.coverage())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Seeds of small worlds whose processes die within their first commits, most while they start.
    #[test]
    fn a_process_that_dies_while_it_starts_is_followed_by_another() {
        let scale = Scale {
            actors: 0,
            turns: 1,
            actions: 10,
            crashes: 20,
            ..Scale::default()
        };
        let mut deaths = 0;
        for seed in 0..20 {
            let mut world = World::new(seed, &scale, Defences::default()).unwrap();
            for _ in 0..5 {
                if world.has_died() {
                    world.revive().unwrap();
                }
            }
            assert!(!world.has_died() && world.service().is_ok());
            deaths += world.deaths();
        }
        assert!(deaths >= 5, "only {deaths} died");
    }
}
