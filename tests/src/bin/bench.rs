//! `make bench`: measures, prints one table and keeps it as JSON. `bench [ROW…]` measures some rows.

use tests::bench;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, id] = arguments.as_slice()
        && flag == bench::INSIDE_ARGUMENT
    {
        let measure = bench::MEASURES_INSIDE.iter().find(|(known, _)| known == id);
        let (_, measure) = measure.ok_or_else(|| anyhow::anyhow!("no measure {id}"))?;
        println!("{}", serde_json::to_string(&measure()?)?);
        return Ok(());
    }
    let rows = bench::run(&arguments)?;
    print!("{}", bench::table(&rows));
    println!("kept in {}", bench::save(&rows)?.display());
    Ok(())
}
