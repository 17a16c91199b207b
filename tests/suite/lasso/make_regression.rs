//! scikit-learn's `make_regression` and shuffled `KFold`, by NumPy's generator: so the test needs no file of half a million numbers.
//!
//! Matsumoto, Nishimura, Mersenne Twister, 1998; NumPy's legacy seeding, polar normals and bounded integers.

pub struct MersenneTwister {
    state: [u32; 624],
    at: usize,
    kept: Option<f64>,
}

impl MersenneTwister {
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for k in 1..624 {
            let last = state[k - 1];
            state[k] = 1_812_433_253_u32
                .wrapping_mul(last ^ (last >> 30))
                .wrapping_add(k as u32);
        }
        Self {
            state,
            at: 624,
            kept: None,
        }
    }

    fn word(&mut self) -> u32 {
        if self.at == 624 {
            for k in 0..624 {
                let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % 624] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[k] = self.state[(k + 397) % 624] ^ (y >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn unit(&mut self) -> f64 {
        let (a, b) = (f64::from(self.word() >> 5), f64::from(self.word() >> 6));
        (a * 67_108_864.0 + b) / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        if let Some(kept) = self.kept.take() {
            return kept;
        }
        loop {
            let x = 2.0 * self.unit() - 1.0;
            let y = 2.0 * self.unit() - 1.0;
            let square = x * x + y * y;
            if square < 1.0 && square != 0.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.kept = Some(factor * x);
                return factor * y;
            }
        }
    }

    fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let mask = u32::MAX >> (i as u32).leading_zeros();
            let j = loop {
                let word = self.word() & mask;
                if word as usize <= i {
                    break word as usize;
                }
            };
            order.swap(i, j);
        }
        order
    }
}

/// make_regression(n, p, noise, random_state=seed): rows of X, and y. Ten columns have a coefficient.
pub fn make_regression(n: usize, p: usize, noise: f64, seed: u32) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut random = MersenneTwister::new(seed);
    let x: Vec<Vec<f64>> = (0..n)
        .map(|_| (0..p).map(|_| random.normal()).collect())
        .collect();
    let truth: Vec<f64> = (0..10).map(|_| 100.0 * random.unit()).collect();
    let mut y: Vec<f64> = x
        .iter()
        .map(|row| row.iter().zip(&truth).map(|(x, b)| x * b).sum())
        .collect();
    y.iter_mut().for_each(|y| *y += noise * random.normal());
    let samples = random.shuffled(n);
    let features = random.shuffled(p);
    let row = |i: &usize| features.iter().map(|&j| x[*i][j]).collect();
    (
        samples.iter().map(row).collect(),
        samples.iter().map(|&i| y[i]).collect(),
    )
}

/// The parts of KFold(count, shuffle=True, random_state=seed).
pub fn shuffled_folds(n: usize, count: usize, seed: u32) -> Vec<Vec<usize>> {
    let order = MersenneTwister::new(seed).shuffled(n);
    let mut at = 0;
    (0..count)
        .map(|fold| {
            let start = at;
            at += n / count + usize::from(fold < n % count);
            let mut part = order[start..at].to_vec();
            part.sort_unstable();
            part
        })
        .collect()
}

#[test]
fn the_data_are_those_of_scikit_learn() {
    let (x, y) = make_regression(500, 1000, 40.0, 42);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-10 * b.abs();
    assert!(close(x[0][0], -0.41112849925685085) && close(x[499][999], 1.0180053990227464));
    assert!(close(y[0], -38.94004623097435) && close(y[499], 182.87012321646858));
    assert_eq!(
        shuffled_folds(500, 5, 42)[0][..8],
        [0, 2, 9, 11, 15, 18, 22, 30]
    );
}
