//! Model shape and inner-optimiser settings, both plain data.

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// Upper bound of every size in a configuration, so that products of three
/// sizes cannot overflow and a hostile checkpoint cannot ask for absurd memory.
const SIZE_MAX: usize = 1 << 20;

/// Upper bound of the parameter count: 4 GiB of `f32` values.
const PARAMETERS_MAX: u64 = 1 << 30;

/// Shape of the decoder. The default has about 0.87M parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Number of token ids.
    pub vocabulary: usize,
    /// Width of the residual stream, `d`.
    pub width: usize,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Attention heads; divides `width` into an even head size.
    pub heads: usize,
    /// Inner width of the SwiGLU feed-forward part.
    pub hidden: usize,
    /// Longest context in tokens.
    pub sequence: usize,
    /// Whether the output head is the embedding matrix.
    pub tied_head: bool,
    /// Base of the rotary position frequencies.
    pub rope_base: f32,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f32,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocabulary: 1024,
            width: 128,
            layers: 3,
            heads: 4,
            hidden: 352,
            sequence: 96,
            tied_head: false,
            rope_base: 10_000.0,
            norm_epsilon: 1e-5,
        }
    }
}

impl ModelConfig {
    /// Checks that the sizes describe a model that fits the crate's bounds.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the first field that is out of its domain.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocabulary", self.vocabulary),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
            ("hidden", self.hidden),
            ("sequence", self.sequence),
        ];
        for (name, size) in sizes {
            if size == 0 || size > SIZE_MAX {
                return Err(ModelError::Config(format!(
                    "{name} is {size}, must be 1 to {SIZE_MAX}"
                )));
            }
        }
        if !self.width.is_multiple_of(self.heads) || !self.head_size().is_multiple_of(2) {
            return Err(ModelError::Config(format!(
                "width {} over {} heads is not a whole even head size",
                self.width, self.heads
            )));
        }
        if !(self.rope_base.is_finite() && self.rope_base > 1.0) {
            return Err(ModelError::Config("rope_base must exceed 1".into()));
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0) {
            return Err(ModelError::Config("norm_epsilon must be positive".into()));
        }
        let count = self.count_wide();
        if count > u128::from(PARAMETERS_MAX) {
            return Err(ModelError::Config(format!(
                "{count} parameters exceed the bound of {PARAMETERS_MAX}"
            )));
        }
        Ok(())
    }

    /// Width of one attention head, `width / heads`.
    pub fn head_size(&self) -> usize {
        self.width / self.heads.max(1)
    }

    /// Number of trainable values:
    /// `V·d·(1 or 2) + layers·(4d² + 3d·hidden + 2d) + d`.
    pub fn parameter_count(&self) -> usize {
        usize::try_from(self.count_wide()).unwrap_or(usize::MAX)
    }

    fn count_wide(&self) -> u128 {
        let [v, d, l, h] =
            [self.vocabulary, self.width, self.layers, self.hidden].map(|size| size as u128);
        let tables = if self.tied_head { 1 } else { 2 };
        v * d * tables + l * (4 * d * d + 3 * d * h + 2 * d) + d
    }

    /// Floating-point operations of one training step per token (forward and
    /// backward, `6` per weight in a matrix product plus attention), the figure
    /// that throughput is divided by to give a share of the machine's peak:
    /// `6·(layers·(4d² + 3d·hidden) + V·d) + 6·layers·(s + 1)·d`.
    pub fn training_flops_per_token(&self) -> f64 {
        let [v, d, l, h, s] = [
            self.vocabulary,
            self.width,
            self.layers,
            self.hidden,
            self.sequence,
        ]
        .map(|size| size as f64);
        let matrices = l * (4.0 * d * d + 3.0 * d * h) + v * d;
        // Causal: position i attends to i + 1 keys, (s + 1) / 2 on average; two
        // products forward, four backward, 2 flops each, over d columns.
        6.0 * matrices + 6.0 * l * (s + 1.0) * d
    }
}

/// Settings of AdamW (Loshchilov and Hutter 2019), without the learning rate,
/// which every step is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamW {
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f32,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay of matrices; normalisation gains are not decayed.
    pub weight_decay: f32,
    /// The gradient is scaled down to this Euclidean norm; infinity turns it off.
    pub clip_norm: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl AdamW {
    /// Checks the domains given on the fields.
    ///
    /// # Errors
    /// [`ModelError::Config`] when a value is outside.
    pub fn validate(&self) -> Result<()> {
        let unit = |x: f32| (0.0..1.0).contains(&x);
        let positive = |x: f32| x > 0.0;
        if unit(self.beta1)
            && unit(self.beta2)
            && positive(self.eps)
            && self.weight_decay >= 0.0
            && self.weight_decay.is_finite()
            && positive(self.clip_norm)
        {
            Ok(())
        } else {
            Err(ModelError::Config(format!(
                "AdamW settings out of domain: {self:?}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts() {
        let mut config = ModelConfig::default();
        assert_eq!(config.parameter_count(), 865_152);
        config.tied_head = true;
        assert_eq!(config.parameter_count(), 865_152 - 1024 * 128);
    }

    #[test]
    fn out_of_domain_sizes_are_refused() {
        let bad: [fn(&mut ModelConfig); 7] = [
            |c| c.vocabulary = 0,
            |c| c.heads = 3,
            |c| c.width = 4,
            |c| c.sequence = usize::MAX,
            |c| c.rope_base = f32::NAN,
            |c| c.norm_epsilon = 0.0,
            |c| (c.width, c.layers) = (1 << 20, 1 << 20),
        ];
        assert!(ModelConfig::default().validate().is_ok());
        for spoil in bad {
            let mut config = ModelConfig::default();
            spoil(&mut config);
            assert!(config.validate().is_err(), "{config:?}");
        }
        let optimizer = AdamW {
            beta1: 1.0,
            ..AdamW::default()
        };
        assert!(optimizer.validate().is_err());
    }
}
