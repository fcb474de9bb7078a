//! Lengths of time in buckets of half an octave: how often something took about so long can be added up over days
//! and people, and a percentile of the sum is right to within a fifth.

/// The bucket of so many milliseconds.
pub(super) fn bucket(ms: i64) -> i64 {
    let n = u128::from(ms.max(0).unsigned_abs()) + 1;
    let octave = n.ilog2();
    // The middle of an octave is its beginning times the square root of two.
    let upper = n * n >= 1 << (2 * octave + 1);
    i64::from(2 * octave) + i64::from(upper)
}

/// The time below which so large a part of all lies; buckets ascend, and none is empty.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub(super) fn percentile(buckets: &[(i64, i64)], part: f64) -> i64 {
    let all: i64 = buckets.iter().map(|(_, times)| times).sum();
    let wanted = all as f64 * part;
    let mut below = 0.0;
    for (bucket, times) in buckets {
        let here = *times as f64;
        if below + here >= wanted && here > 0.0 {
            // As if those of a bucket were spread evenly over it, on the scale of the buckets.
            let at = *bucket as f64 + ((wanted - below) / here).clamp(0.0, 1.0);
            return ((at / 2.0).exp2() - 1.0).round() as i64;
        }
        below += here;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_half_octaves() {
        for (ms, expected) in [(-5, 0), (0, 0), (1, 2), (2, 3), (3, 4), (1_000, 19), (i64::MAX, 126)] {
            assert_eq!(bucket(ms), expected, "{ms}");
        }
        assert!((0..100_000).map(bucket).is_sorted());
    }

    proptest::proptest! {
        /// Whatever the times are, a percentile is not further off than a bucket is wide.
        #[test]
        fn percentiles_are_right_to_within_a_bucket(
            mut times in proptest::collection::vec(0..10_000_000_i64, 1..200),
            part in 0.01..0.99_f64,
        ) {
            times.sort_unstable();
            let mut buckets = std::collections::BTreeMap::<i64, i64>::new();
            for ms in &times {
                *buckets.entry(bucket(*ms)).or_default() += 1;
            }
            let buckets: Vec<_> = buckets.into_iter().collect();
            let rank = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len());
            let exact = times[rank - 1];
            let told = percentile(&buckets, part);
            proptest::prop_assert!((bucket(told) - bucket(exact)).abs() <= 1, "{told} for {exact}");
        }
    }
}
