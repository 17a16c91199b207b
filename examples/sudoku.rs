//! The rules of 4 x 4 sudoku, learned from solved puzzles.
//!
//!     minimize  1/20 |x|^2 + 1/2 |e|^2 - clues'x   subject to  R x + e = R x0,  x >= 0
//!
//! x holds 16 cells times 4 digits, clues is one where a digit is given. The rules R and a point x0 that satisfies them are learned
//! from solutions: R is in the program's A, R x0 in its b. Strict rules, R x = R x0, would be degenerate as soon as they are right: at
//! a solved puzzle more constraints hold with equality than x has numbers, multipliers are not unique, and gradients are not trusted.
//! The residual e, at its own price, makes every program regular.
//!
//! Amos, Kolter, OptNet: differentiable optimization as a layer in neural networks, 2017, section 4.4.

mod figure;
mod training;

use conediff::{ConeProgram, ConicLayer, LayerData, ProgramBuilder, SolutionTangent};
use figure::{Area, BLUE, INK, ORANGE, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use training::{Adam, Random};

const CELLS: usize = 16;
/// Cells times digits.
const SIZE: usize = 4 * CELLS;
const RULES: usize = 40;
const CLUES: usize = 7;
const PUZZLES: usize = 1000;
const HELD_OUT: usize = 200;
const BATCH: usize = 25;
const STEPS: usize = 160;
/// Held-out puzzles are tried at every so many steps.
const TRIAL: usize = 20;

/// A digit 0 to 3 for each cell, row by row.
type Grid = [usize; CELLS];

/// All 288 solved grids.
fn all_grids() -> Vec<Grid> {
    let sees = |i: usize, j: usize| {
        let [row, column] = [i / 4 == j / 4, i % 4 == j % 4];
        row || column || (i / 8 == j / 8 && i % 4 / 2 == j % 4 / 2)
    };
    let mut grids = vec![[0; CELLS]];
    for cell in 0..CELLS {
        let filled = grids.into_iter().flat_map(|grid: Grid| {
            let fits = move |d: &usize| !(0..cell).any(|j| sees(j, cell) && grid[j] == *d);
            (0..4).filter(fits).map(move |digit| {
                let mut grid = grid;
                grid[cell] = digit;
                grid
            })
        });
        grids = filled.collect();
    }
    grids
}

/// One where a digit is given, and where one is right.
struct Puzzle {
    clues: Vec<f64>,
    solution: Vec<f64>,
}

impl Puzzle {
    /// One of the solutions with clues that only it has, of all grids.
    fn new(solutions: &[Grid], grids: &[Grid], random: &mut Random) -> Self {
        loop {
            let solution = solutions[random.below(solutions.len())];
            let cells = &random.permutation(CELLS)[..CLUES];
            let fits = |grid: &&Grid| cells.iter().all(|&c| grid[c] == solution[c]);
            if grids.iter().filter(fits).count() > 1 {
                continue;
            }
            let mut puzzle = Self {
                clues: vec![0.0; SIZE],
                solution: vec![0.0; SIZE],
            };
            for (cell, digit) in solution.iter().enumerate() {
                puzzle.solution[4 * cell + digit] = 1.0;
                puzzle.clues[4 * cell + digit] = f64::from(u8::from(cells.contains(&cell)));
            }
            return puzzle;
        }
    }

    fn squared_error(&self, x: &[f64]) -> f64 {
        let squares = x.iter().zip(&self.solution).map(|(x, y)| (x - y).powi(2));
        squares.sum::<f64>() / SIZE as f64
    }

    /// All cells right?
    fn is_solved_by(&self, x: &[f64]) -> bool {
        (0..CELLS).all(|cell| self.solution[4 * cell + digit(x, cell)] == 1.0)
    }
}

/// The digit with the largest x in a cell.
fn digit(x: &[f64], cell: usize) -> usize {
    let values = &x[4 * cell..4 * cell + 4];
    (0..4)
        .max_by(|&a, &b| values[a].total_cmp(&values[b]))
        .unwrap_or(0)
}

/// The program for R = 0; its variables are x, e.
fn program() -> conediff::Result<ConeProgram> {
    let mut builder = ProgramBuilder::new(SIZE + RULES);
    for j in 0..SIZE + RULES {
        builder.quadratic(j, j, if j < SIZE { 0.1 } else { 1.0 });
    }
    for rule in 0..RULES {
        let mut terms: Vec<(usize, f64)> = (0..SIZE).map(|j| (j, 0.0)).collect();
        terms.push((SIZE + rule, 1.0));
        builder.equality(&terms, 0.0);
    }
    builder.bounds(0..SIZE, 0.0, f64::INFINITY);
    builder.build()
}

struct Model {
    layer: ConicLayer,
    /// R row by row, then x0.
    parameters: Vec<f64>,
    /// Where A stores the entries of R.
    stored: Vec<usize>,
    doubtful: u64,
}

impl Model {
    fn new(random: &mut Random) -> Result<Self> {
        let program = program()?;
        let mut stored = Vec::new();
        for rule in 0..RULES {
            let row = (0..SIZE).map(|j| program.a().pattern().position(rule, j));
            stored.extend(
                row.collect::<Option<Vec<_>>>()
                    .ok_or("a rule is not stored")?,
            );
        }
        let mut parameters: Vec<f64> = (0..RULES * SIZE).map(|_| random.uniform()).collect();
        parameters.extend([0.25; SIZE]);
        let layer = ConicLayer::new(&program, training::settings())?;
        Ok(Self {
            layer,
            parameters,
            stored,
            doubtful: 0,
        })
    }

    fn solve(&mut self, puzzles: &[&Puzzle]) -> Result<Vec<Vec<f64>>> {
        let (rules, x0) = self.parameters.split_at(RULES * SIZE);
        let program = self.layer.program();
        let (mut a, mut b) = (program.a().stored_values(), program.b().to_vec());
        self.stored
            .iter()
            .zip(rules)
            .for_each(|(&at, r)| a[at] = *r);
        for (b, rule) in b.iter_mut().zip(rules.chunks(SIZE)) {
            *b = rule.iter().zip(x0).map(|(r, x)| r * x).sum();
        }
        let cost = |p: &&Puzzle| -> Vec<f64> {
            let clues = p.clues.iter().map(|c| -c);
            clues.chain([0.0; RULES]).collect()
        };
        let costs: Vec<Vec<f64>> = puzzles.iter().map(cost).collect();
        let rules = LayerData::default().with_a(&a).with_b(&b);
        let items: Vec<LayerData> = costs.iter().map(|q| rules.with_q(q)).collect();
        let solutions = self.layer.forward_batch(&items).into_iter();
        Ok(solutions
            .map(|s| s.map(|s| s.x))
            .collect::<conediff::Result<_>>()?)
    }

    /// The mean squared error of a batch, and its gradient.
    fn gradient(&mut self, puzzles: &[&Puzzle]) -> Result<(f64, Vec<f64>)> {
        let (mut loss, mut seeds) = (0.0, Vec::new());
        for (x, puzzle) in self.solve(puzzles)?.iter().zip(puzzles) {
            loss += puzzle.squared_error(x) / puzzles.len() as f64;
            let mut seed = SolutionTangent::zeros(self.layer.program());
            let weight = 2.0 / (SIZE * puzzles.len()) as f64;
            let misses = x
                .iter()
                .zip(&puzzle.solution)
                .map(|(x, y)| weight * (x - y));
            seed.x.iter_mut().zip(misses).for_each(|(s, m)| *s = m);
            seeds.push(seed);
        }
        let mut gradient = vec![0.0; self.parameters.len()];
        let (in_rules, in_x0) = gradient.split_at_mut(RULES * SIZE);
        let (rules, x0) = self.parameters.split_at(RULES * SIZE);
        for answer in self.layer.backward_batch(&seeds)? {
            let answer = answer?;
            self.doubtful += u64::from(!answer.trusted);
            let data = answer.value;
            // b = R x0: its gradient goes to both.
            for (k, db) in data.b.iter().take(RULES).enumerate() {
                for j in 0..SIZE {
                    let at = SIZE * k + j;
                    in_rules[at] += data.a[self.stored[at]] + db * x0[j];
                    in_x0[j] += db * rules[at];
                }
            }
        }
        Ok((loss, gradient))
    }
}

/// The held-out error and the share solved, with the answers.
fn try_all(model: &mut Model, puzzles: &[Puzzle]) -> Result<(f64, f64, Vec<Vec<f64>>)> {
    let answers = model.solve(&puzzles.iter().collect::<Vec<_>>())?;
    let both = || puzzles.iter().zip(&answers);
    let count = puzzles.len() as f64;
    let error = both().map(|(p, x)| p.squared_error(x)).sum::<f64>() / count;
    let solved = both().filter(|(p, x)| p.is_solved_by(x)).count() as f64 / count;
    Ok((error, solved, answers))
}

/// The grid: clues in black, found digits in color, x as bars below.
fn draw_grid(area: &Area<'_>, puzzle: &Puzzle, x: &[f64]) -> Result<()> {
    const CELL: i32 = 150;
    let title = TextStyle::from(("sans-serif", 34).into_font()).color(&INK);
    let (width, height) = area.dim_in_pixel();
    let corner = (
        (width as i32 - 4 * CELL) / 2,
        (height as i32 - 4 * CELL) / 2,
    );
    let middle = Pos::new(HPos::Center, VPos::Center);
    let top = (width as i32 / 2, corner.1 / 2);
    area.draw_text("A held-out puzzle, and x", &title.pos(middle), top)?;
    let at = |column: i32, row: i32| (corner.0 + CELL * column, corner.1 + CELL * row);
    for k in 0..=4 {
        let style = INK.stroke_width(if k % 2 == 0 { 6 } else { 2 });
        area.draw(&PathElement::new([at(k, 0), at(k, 4)], style))?;
        area.draw(&PathElement::new([at(0, k), at(4, k)], style))?;
    }
    for cell in 0..CELLS {
        let (left, above) = at(cell as i32 % 4, cell as i32 / 4);
        let range = 4 * cell..4 * cell + 4;
        let is_clue = puzzle.clues[range.clone()].contains(&1.0);
        let color = if is_clue { INK } else { BLUE };
        let style = TextStyle::from(("sans-serif", 64).into_font()).color(&color);
        let text = format!("{}", digit(x, cell) + 1);
        area.draw_text(&text, &style.pos(middle), (left + CELL / 2, above + 55))?;
        for (k, value) in x[range].iter().enumerate() {
            let foot = (left + 28 + 25 * k as i32, above + CELL - 12);
            let head = (
                foot.0 + 19,
                foot.1 - (40.0 * value.clamp(0.0, 1.0)) as i32 - 2,
            );
            area.draw(&Rectangle::new([foot, head], color.mix(0.5).filled()))?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut random = Random::new(0);
    let grids = all_grids();
    assert!(grids.len() == 288);
    let shuffled: Vec<Grid> = random
        .permutation(288)
        .into_iter()
        .map(|k| grids[k])
        .collect();
    // No solution of a held-out puzzle is seen in training.
    let (seen, unseen) = shuffled.split_at(200);
    let make = |from: &[Grid], count: usize, random: &mut Random| -> Vec<Puzzle> {
        (0..count)
            .map(|_| Puzzle::new(from, &grids, random))
            .collect()
    };
    let puzzles = make(seen, PUZZLES, &mut random);
    let held_out = make(unseen, HELD_OUT, &mut random);

    let mut model = Model::new(&mut random)?;
    let mut adam = Adam::new(model.parameters.len(), 0.01);
    let (mut losses, mut trials) = (Vec::new(), Vec::new());
    let bar = training::bar(STEPS as u64, "steps")?;
    let mut order = Vec::new();
    for step in 0..STEPS {
        if order.len() < BATCH {
            order = random.permutation(PUZZLES);
        }
        let batch = order.split_off(order.len() - BATCH);
        let batch: Vec<&Puzzle> = batch.into_iter().map(|k| &puzzles[k]).collect();
        let (loss, gradient) = model.gradient(&batch)?;
        losses.push((step as f64, loss));
        adam.step(&mut model.parameters, &gradient);
        if (step + 1) % TRIAL == 0 {
            let (error, solved, _) = try_all(&mut model, &held_out)?;
            trials.push((step + 1, error, solved));
            bar.set_message(format!("loss {loss:.4}, {:.1} % solved", 100.0 * solved));
        }
        bar.inc(1);
    }
    bar.finish();
    let (_, solved, answers) = try_all(&mut model, &held_out)?;
    println!("step   held-out error   held-out puzzles solved");
    for (step, error, solved) in &trials {
        println!("{step:<6} {error:14.5} {:19.1} %", 100.0 * solved);
    }
    println!(
        "{} gradients, {} of them not trusted",
        STEPS * BATCH,
        model.doubtful
    );

    figure::draw("sudoku", |area| {
        let (left, right) = area.split_horizontally(1180);
        let (loss, share) = left.split_horizontally(590);
        let steps = 0.0..STEPS as f64;
        let labels = ["step", "log10 of the squared error"];
        let mut chart = figure::axes(&loss, "The error", labels, steps.clone(), -3.0..0.0)?;
        let points = losses.iter().map(|(k, l)| (*k, l.log10()));
        figure::line(&mut chart, points, ORANGE, 4, "training")?;
        let points = trials.iter().map(|(k, e, _)| (*k as f64, e.log10()));
        figure::line(&mut chart, points, BLUE, 6, "held out")?;
        figure::legend(&mut chart, SeriesLabelPosition::UpperRight)?;

        let labels = ["step", "%"];
        let title = "Held-out puzzles solved";
        let mut chart = figure::axes(&share, title, labels, steps, 0.0..105.0)?;
        let points = || trials.iter().map(|(k, _, s)| (*k as f64, 100.0 * s));
        figure::line(&mut chart, points(), BLUE, 6, "")?;
        figure::discs(&mut chart, points(), BLUE, 9, "")?;
        draw_grid(&right, &held_out[0], &answers[0])
    })?;

    assert!(solved == 1.0, "a held-out puzzle is not solved");
    assert!(model.doubtful == 0);
    Ok(())
}
