//! Initial weights.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::ModelConfig;
use crate::layout::Layout;

/// Deterministic initial parameters: gains 1; embedding rows and matrices normal
/// with deviation `1/√inputs` (`0.02` times `√d` smaller for the head, so that the
/// first loss is near `ln V`); matrices that write the residual stream are
/// shrunk by `√(2·layers)`, which keeps its variance flat over depth
/// (Radford et al. 2019, section 2.3).
pub(crate) fn parameters(config: &ModelConfig, layout: &Layout, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut flat = vec![1.0f32; layout.parameter_count()];
    let depth = (2.0 * config.layers as f64).sqrt();
    for slot in layout.slots().iter().filter(|slot| slot.decay) {
        let inputs = (slot.shape[1] as f64).sqrt();
        let deviation = if slot.range == layout.embedding || slot.range == layout.head {
            0.02
        } else if slot.name.ends_with(".out") || slot.name.ends_with(".down") {
            1.0 / (inputs * depth)
        } else {
            1.0 / inputs
        };
        for pair in flat[slot.range.clone()].chunks_mut(2) {
            let normal = box_muller(&mut rng);
            for (value, normal) in pair.iter_mut().zip(normal) {
                *value = (normal * deviation) as f32;
            }
        }
    }
    flat
}

/// Two independent standard normal values (Box and Muller 1958).
fn box_muller(rng: &mut ChaCha8Rng) -> [f64; 2] {
    // 1 − u is in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let (sine, cosine) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
    [radius * cosine, radius * sine]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_weights_and_the_stated_spread() {
        let config = ModelConfig::default();
        let layout = Layout::new(&config);
        let flat = parameters(&config, &layout, 7);
        assert_eq!(flat, parameters(&config, &layout, 7));
        assert_ne!(flat, parameters(&config, &layout, 8));
        let qkv = &flat[layout.blocks[0].qkv.clone()];
        let variance: f32 = qkv.iter().map(|x| x * x).sum::<f32>() / qkv.len() as f32;
        assert!((variance * 128.0 - 1.0).abs() < 0.03);
    }
}
