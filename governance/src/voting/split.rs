//! Dividing a sum by weights, in integers: the method of the largest remainder.

/// Parts of `total` in proportion to `weights`: each gets the whole part of its share, and what is left
/// goes, one unit each, to those with the largest remainders, the earlier of equals first. The parts add
/// up to `total` exactly; without any weight there are only zeros.
#[must_use]
pub fn largest_remainder(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u64| u128::from(total) * u128::from(*weight);
    let mut parts: Vec<u64> = weights
        .iter()
        // At most `total`, which is a u64.
        .map(|weight| u64::try_from(exact(weight) / sum).unwrap_or(total))
        .collect();
    let given: u128 = parts.iter().copied().map(u128::from).sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(exact(&weights[index]) % sum));
    // Less than one for each weight is left.
    let left = usize::try_from(u128::from(total) - given).unwrap_or(0);
    for &index in order.iter().take(left) {
        parts[index] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remainders_go_to_the_largest() {
        assert_eq!(largest_remainder(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(largest_remainder(10, &[1, 6, 3]), [1, 6, 3]);
        assert_eq!(largest_remainder(5, &[0, 7, 7]), [0, 3, 2]);
        assert_eq!(largest_remainder(5, &[0, 0]), [0, 0]);
        assert_eq!(largest_remainder(u64::MAX, &[u64::MAX]), [u64::MAX]);
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(total in any::<u64>(), weights in prop::collection::vec(any::<u64>(), 1..50)) {
            let parts = largest_remainder(total, &weights);
            let sum: u128 = parts.iter().copied().map(u128::from).sum();
            let all: u128 = weights.iter().copied().map(u128::from).sum();
            prop_assert_eq!(sum, if all == 0 { 0 } else { u128::from(total) });
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = u128::from(total) * u128::from(*weight);
                prop_assert!(all == 0 || u128::from(*part) * all < exact + all);
                prop_assert!(all == 0 || (u128::from(*part) + 1) * all > exact);
                prop_assert!(*weight > 0 || *part == 0);
            }
        }
    }
}
