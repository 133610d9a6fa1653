//! What a trainer computes on, and how well it uses it.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::config::ModelConfig;
use crate::error::{ModelError, Result};

/// Most devices that a machine is taken to have.
const ORDINAL_MAX: usize = 255;

/// A device by name: `cpu`, `cuda` (the first one) or `cuda:N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// The processor, with the fused kernels of this crate.
    #[default]
    Cpu,
    /// The CUDA device of this number, as the driver counts them.
    Cuda(usize),
}

impl FromStr for DeviceName {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || ModelError::DeviceName(text.chars().take(64).collect());
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                // Not what `parse` takes besides, such as a sign.
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                let number: usize = number.parse().map_err(|_| unknown())?;
                (digits && number <= ORDINAL_MAX)
                    .then_some(Self::Cuda(number))
                    .ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl DeviceName {
    /// Whether it is the processor, where equal work gives equal bits.
    pub fn is_cpu(self) -> bool {
        self == Self::Cpu
    }

    /// Looks whether the device is there, and what it is.
    ///
    /// # Errors
    /// [`ModelError::NoCuda`] when the program was built without CUDA, [`ModelError::NoDevice`] when there is no such
    /// device or it cannot be used.
    pub fn describe(self) -> Result<DeviceDescription> {
        let device = self.open()?;
        let model = model_of(&device).map_err(|error| self.missing(&error))?;
        Ok(DeviceDescription {
            peak_flops: model.as_deref().and_then(bf16_peak_flops),
            name: self,
            model,
        })
    }

    /// The tensor back end's device.
    ///
    /// # Errors
    /// As [`DeviceName::describe`].
    pub(crate) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(ModelError::NoCuda),
            Self::Cuda(ordinal) => Device::new_cuda(ordinal).map_err(|error| self.missing(&error)),
        }
    }

    fn missing(self, error: &dyn fmt::Display) -> ModelError {
        // The back end adds a backtrace after the first line.
        let reason = error.to_string();
        ModelError::NoDevice {
            device: self,
            reason: reason.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

/// The type of what goes into matrix products on a GPU; the processor's are `f32` always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// Fast, and rounded so coarsely that SparseLoCo selects other values: work in bf16 and the same work done again in
    /// f32 are less alike (cosine 0.75 to 0.92 over 30 steps) than an audit allows.
    Bf16,
    /// Alike enough to be done again on a processor (cosine above 0.99).
    F32,
}

impl Products {
    /// What a run allows, whose contributions are done again elsewhere or not.
    pub fn of_run(audited: bool) -> Self {
        if audited { Self::F32 } else { Self::Bf16 }
    }

    /// Those that are used on `device`, where `self` is allowed.
    pub fn on(self, device: DeviceName) -> Self {
        if device.is_cpu() { Self::F32 } else { self }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::BF16,
            Self::F32 => DType::F32,
        }
    }
}

impl fmt::Display for Products {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        })
    }
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceDescription {
    /// By which name it was asked for.
    pub name: DeviceName,
    /// What the driver calls it; none for the processor.
    pub model: Option<String>,
    /// The most bf16 matrix work that its maker states, in flop/s; none where it is not known.
    pub peak_flops: Option<f64>,
}

impl DeviceDescription {
    /// Model FLOPs utilisation at `tokens_per_second`; none without a known peak.
    pub fn utilisation(&self, config: &ModelConfig, tokens_per_second: f64) -> Option<f64> {
        model_flops_utilisation(config, tokens_per_second, self.peak_flops?)
    }
}

impl fmt::Display for DeviceDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.model {
            Some(model) => write!(f, "{} ({model})", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(feature = "cuda")]
fn model_of(device: &Device) -> candle_core::Result<Option<String>> {
    let Device::Cuda(device) = device else {
        return Ok(None);
    };
    let name = device.cuda_stream().context().name();
    name.map(Some).map_err(candle_core::Error::wrap)
}

#[cfg(not(feature = "cuda"))]
fn model_of(_: &Device) -> candle_core::Result<Option<String>> {
    Ok(None)
}

/// The peak of dense bf16 products with f32 sums, in flop/s, of a GPU by the name that its driver gives; none where
/// the name does not say it for certain. From NVIDIA's data sheets of the A100, H100 and H200, without sparsity.
pub fn bf16_peak_flops(model: &str) -> Option<f64> {
    let words: Vec<&str> = model
        .split([' ', '-'])
        .filter(|word| *word != "NVIDIA")
        .collect();
    let has = |word: &str| words.contains(&word);
    // A slice of a card has a part of its peak.
    if has("MIG") {
        return None;
    }
    let teraflops = match words.first().copied()? {
        "H200" if has("NVL") => 835.5,
        "H200" => 989.4,
        "H100" if has("NVL") => 835.5,
        "H100" if has("PCIe") => 756.5,
        "H100" if has("HBM3") => 989.4,
        "A100" if has("SXM4") || has("PCIE") || has("PCIe") => 312.0,
        _ => return None,
    };
    Some(teraflops * 1e12)
}

/// The share of a device's peak that goes into the model's own arithmetic, after Chowdhery and others 2022 (PaLM):
/// `tokens/s · flops per token / peak`, the peak being that of bf16 whatever was computed in. Work done twice to save
/// memory does not count. None unless the speed is finite and not negative and the peak positive.
pub fn model_flops_utilisation(
    config: &ModelConfig,
    tokens_per_second: f64,
    peak_flops: f64,
) -> Option<f64> {
    let speed = tokens_per_second.is_finite() && tokens_per_second >= 0.0;
    let peak = peak_flops.is_finite() && peak_flops > 0.0;
    (speed && peak).then(|| tokens_per_second * config.training_flops_per_token() / peak_flops)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, name) in [
            ("cpu", DeviceName::Cpu),
            ("cuda", DeviceName::Cuda(0)),
            ("cuda:0", DeviceName::Cuda(0)),
            ("cuda:3", DeviceName::Cuda(3)),
        ] {
            assert_eq!(text.parse::<DeviceName>().unwrap(), name);
            assert_eq!(name.to_string().parse::<DeviceName>().unwrap(), name);
        }
        for text in [
            "", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:256", "cuda:1 ", "cuda0",
        ] {
            let error = text.parse::<DeviceName>().unwrap_err();
            assert!(matches!(error, ModelError::DeviceName(_)), "{text}");
        }
    }

    #[test]
    fn the_processor_is_always_there() {
        let here = DeviceName::Cpu.describe().unwrap();
        assert_eq!((here.model.as_deref(), here.peak_flops), (None, None));
        assert_eq!(here.to_string(), "cpu");
        assert_eq!(here.utilisation(&ModelConfig::default(), 1e4), None);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so() {
        let error = DeviceName::Cuda(0).describe().unwrap_err();
        assert!(matches!(error, ModelError::NoCuda));
        assert!(error.to_string().contains("--features cuda"), "{error}");
    }

    #[test]
    fn peaks_are_those_of_the_data_sheets() {
        let table = [
            ("NVIDIA H100 80GB HBM3", Some(989.4)),
            ("NVIDIA H100 PCIe", Some(756.5)),
            ("NVIDIA H100 NVL", Some(835.5)),
            ("NVIDIA H200", Some(989.4)),
            ("NVIDIA H200 NVL", Some(835.5)),
            ("NVIDIA A100-SXM4-80GB", Some(312.0)),
            ("NVIDIA A100-PCIE-40GB", Some(312.0)),
            ("NVIDIA A100 80GB PCIe", Some(312.0)),
            ("A100-SXM4-40GB", Some(312.0)),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
            ("NVIDIA H100", None),
            ("NVIDIA A100X", None),
            ("NVIDIA GeForce RTX 4090", None),
            ("NVIDIA GH200 480GB", None),
            ("Tesla T4", None),
            ("NVIDIA", None),
            ("", None),
        ];
        for (model, teraflops) in table {
            let peak = bf16_peak_flops(model).map(|flops| flops / 1e12);
            assert_eq!(peak.is_some(), teraflops.is_some(), "{model}");
            let difference = peak.unwrap_or_default() - teraflops.unwrap_or_default();
            assert!(difference.abs() < 1e-9, "{model}");
        }
    }

    #[test]
    fn utilisation_by_table() {
        // 6 · (layers · (4d² + 3d·hidden) + V·d) + 6 · layers · (s + 1) · d
        let default = ModelConfig::default();
        assert_eq!(default.training_flops_per_token(), 4_622_592.0);
        let large = crate::bench::gpu_configuration();
        assert_eq!(large.training_flops_per_token(), 717_281_280.0);
        for (config, speed, peak, expected) in [
            (&default, 1e6, 4.622592e13, Some(0.1)),
            (&large, 500_000.0, 989.4e12, Some(0.362_483_0)),
            (&large, 0.0, 989.4e12, Some(0.0)),
            (&large, f64::NAN, 989.4e12, None),
            (&large, -1.0, 989.4e12, None),
            (&large, 1.0, 0.0, None),
            (&large, 1.0, f64::INFINITY, None),
        ] {
            let found = model_flops_utilisation(config, speed, peak);
            assert_eq!(found.is_some(), expected.is_some());
            let difference = found.unwrap_or_default() - expected.unwrap_or_default();
            assert!(difference.abs() < 1e-6, "{found:?} {expected:?}");
        }
    }
}
