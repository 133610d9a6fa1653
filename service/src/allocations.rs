use crate::commands::*;
use crate::views::*;
use crate::*;
use std::time::Duration;
pub(crate) fn key_in_use_since(_tx: &mut Tx, _k: &str, now: i64) -> Result<i64> {
    Ok(now)
}
impl Service {
    pub(crate) fn allocation_of(&self, _r: &str) -> Result<Option<AllocationView>> {
        Ok(None)
    }
    pub fn allocations(&self, _ctx: &Context) -> Result<AllocationsView> {
        todo!()
    }
    pub fn wait_allocations(
        &self,
        _ctx: &Context,
        _since: i64,
        _wait: Duration,
    ) -> Result<Option<AllocationsView>> {
        todo!()
    }
    pub fn decision(&self, _ctx: &Context, _decision_id: &str) -> Result<DecisionView> {
        todo!()
    }
    pub fn decisions(
        &self,
        _ctx: &Context,
        _cursor: Option<&str>,
        _limit: usize,
    ) -> Result<Page<DecisionView>> {
        todo!()
    }
    pub fn acknowledge(&self, _ctx: &Context, _cmd: &Acknowledge) -> Result<AckView> {
        todo!()
    }
    pub fn keys(&self) -> Vec<KeyView> {
        todo!()
    }
}
