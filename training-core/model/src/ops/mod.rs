//! Fused kernels, each a forward and a hand-written backward pass on slices.
//!
//! Nothing here allocates or knows about parameters: callers own the buffers.
//! Every backward pass is checked against central finite differences.

pub(crate) mod attention;
pub(crate) mod cross_entropy;
pub(crate) mod embedding;
pub(crate) mod lanes;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod swiglu;

#[cfg(test)]
pub(crate) mod check;
