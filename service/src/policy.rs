use crate::*;
use plumbline_store::Tx;
pub(crate) fn check_text(_t: &str) -> Result<String> {
    Ok(String::new())
}
pub(crate) fn ensure_active(_tx: &mut Tx, _p: &str, _now: i64) -> Result<()> {
    Ok(())
}
impl Service {
    pub(crate) fn evaluate_policy(&self) -> Result<()> {
        Ok(())
    }
    pub fn policy(&self, _ctx: &Context) -> Result<views::PolicyView> {
        todo!()
    }
    pub fn policy_versions(&self, _ctx: &Context) -> Result<Vec<views::PolicyView>> {
        todo!()
    }
}
