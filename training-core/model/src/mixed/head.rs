//! The output head with cross-entropy, a piece of the rows at a time.

use candle_core::{D, DType, Result, Tensor};

use super::ops::{input_gradient, linear, weight_gradient};

/// How many rows have their logits at once.
#[derive(Debug)]
pub(crate) struct Head {
    /// At least 1.
    pub(crate) rows: usize,
}

/// What the head's backward pass gives.
pub(crate) struct HeadGradient {
    /// Mean cross-entropy, a scalar in f32.
    pub(crate) loss: Tensor,
    /// Gradient of the states, `r × d`, of their type.
    pub(crate) input: Tensor,
    /// Gradient of the head's weight, `V × d` in f32.
    pub(crate) weight: Tensor,
}

/// Softmax of a piece before the division, and its loss.
struct Piece {
    exponentials: Tensor,
    sums: Tensor,
    /// Sum of the rows' cross-entropies, a scalar.
    loss: Tensor,
}

impl Head {
    /// Mean cross-entropy, a scalar in f32, of `states` of `r × d` under `weight` of `V × d`, where row `i` is to foresee
    /// `targets[i]`, `r × 1`.
    pub(crate) fn loss(
        &self,
        states: &Tensor,
        weight: &Tensor,
        targets: &Tensor,
    ) -> Result<Tensor> {
        let rows = states.dim(0)?;
        let mut losses = Vec::new();
        for (start, count) in self.pieces(rows) {
            let states = states.narrow(0, start, count)?;
            let piece = Piece::new(&states, weight, &targets.narrow(0, start, count)?)?;
            losses.push(piece.loss);
        }
        mean(&losses, rows)
    }

    /// The loss with both gradients.
    pub(crate) fn gradient(
        &self,
        states: &Tensor,
        weight: &Tensor,
        targets: &Tensor,
    ) -> Result<HeadGradient> {
        let rows = states.dim(0)?;
        let share = 1.0 / rows as f64;
        let (mut losses, mut inputs) = (Vec::new(), Vec::new());
        let mut sum: Option<Tensor> = None;
        for (start, count) in self.pieces(rows) {
            let states = states.narrow(0, start, count)?;
            let targets = targets.narrow(0, start, count)?;
            let piece = Piece::new(&states, weight, &targets)?;
            let chances = (piece.exponentials.broadcast_div(&piece.sums)? * share)?;
            let right = Tensor::full(-share as f32, (count, 1), states.device())?;
            let logits = chances.scatter_add(&targets, &right, 1)?;
            let logits = logits.to_dtype(states.dtype())?;
            inputs.push(input_gradient(&logits, weight)?);
            let found = weight_gradient(&logits, &states)?.to_dtype(DType::F32)?;
            sum = Some(match sum {
                Some(sum) => (sum + found)?,
                None => found,
            });
            losses.push(piece.loss);
        }
        let Some(weight) = sum else {
            candle_core::bail!("no rows");
        };
        Ok(HeadGradient {
            loss: mean(&losses, rows)?,
            input: Tensor::cat(&inputs, 0)?,
            weight,
        })
    }

    fn pieces(&self, rows: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = self.rows;
        (0..rows)
            .step_by(most)
            .map(move |start| (start, most.min(rows - start)))
    }
}

impl Piece {
    fn new(states: &Tensor, weight: &Tensor, targets: &Tensor) -> Result<Self> {
        let logits = linear(states, weight)?.to_dtype(DType::F32)?;
        let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?;
        let exponentials = shifted.exp()?;
        let sums = exponentials.sum_keepdim(D::Minus1)?;
        let loss = (sums.log()? - shifted.gather(targets, 1)?)?.sum_all()?;
        Ok(Self {
            exponentials,
            sums,
            loss,
        })
    }
}

fn mean(losses: &[Tensor], rows: usize) -> Result<Tensor> {
    Tensor::stack(losses, 0)?.sum_all()? / rows as f64
}
