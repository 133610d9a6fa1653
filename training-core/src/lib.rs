//! Pure rules of distributed training.
pub mod trainer;
