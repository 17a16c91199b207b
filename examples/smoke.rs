use conediff::*;
fn main() {
    for f in std::env::args().skip(1) {
        let t = std::time::Instant::now();
        let prog = match ConeProgram::from_json(&std::fs::read_to_string(&f).unwrap()) { Ok(p)=>p, Err(e)=>{println!("{f}: {e}"); continue;} };
        let st = Settings::default();
        let t1=std::time::Instant::now();
        let raw = match interior_point(&prog, &st.solve) { Ok(s)=>s, Err(e)=>{println!("{f}: {e}"); continue;} };
        let t2=std::time::Instant::now();
        let sol = refine(&prog, &raw, &st).unwrap();
        let t3=std::time::Instant::now();
        let r = sol.refinement.unwrap();
        let d = match Derivative::new(&prog, &sol, &st) { Ok(d)=>d, Err(e)=>{println!("{f}: {e}"); continue;} };
        let t4=std::time::Instant::now();
        let mut g = SolutionTangent::zeros(&prog);
        let mut k = 0.3f64;
        for v in g.x.iter_mut().chain(g.z.iter_mut()).chain(g.s.iter_mut()) { k = (k*3.7*(1.0-k)).abs(); *v = k-0.5; }
        let v = d.vjp(&g).unwrap();
        let t5=std::time::Instant::now();
        println!("{} n={} m={} {} obj={:.8e} | {:.1e}->{:.1e} {}st acc={} | {:?} res={:.1e} ref={} cond={:.1e} corr={:.1e} trusted={} | read {:?} ip {:?} refine {:?} prep {:?} vjp {:?}", f.rsplit('/').next().unwrap(), prog.n(), prog.m(), sol.status, sol.objective, r.before, r.after, r.steps, r.accepted, v.evidence.method, v.evidence.residual, v.evidence.refinement_steps, v.evidence.condition, v.evidence.correction, v.trusted, t1-t, t2-t1,t3-t2,t4-t3,t5-t4);
        for w in &v.warnings { println!("     {w}"); }
    }
}
