//! The table that is printed: plain columns, one line for each method and setting.

use crate::run::Measured;

/// Prints the heads of the columns.
pub(crate) fn heads() {
    println!(
        "{:<22} {:>6} {:>9} {:>8} {:>8} {:>8} {:>9} {:>6} {:>6} {:>7} {:>6} {:>11}",
        "method",
        "c×s",
        "req/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "cpu µs/r",
        "server",
        "load",
        "÷ echo",
        "cpu ÷",
        "data keys/s"
    );
}

/// Prints a line. `echo` is what was measured in turns with it; `data_keys` are of one call.
pub(crate) fn line(
    name: &str,
    setting: &str,
    measured: &Measured,
    echo: Option<&Measured>,
    data_keys: u32,
) {
    let quantile = |q| measured.latency_us.value_at_quantile(q);
    let dash = || "-".to_owned();
    let ratio = |of: f64, to: f64| format!("{:.2}", of / to.max(f64::MIN_POSITIVE));
    let rates = echo.map_or_else(dash, |echo| ratio(measured.rate(), echo.rate()));
    let costs =
        echo.map_or_else(dash, |echo| ratio(echo.cpu_us_per_call(), measured.cpu_us_per_call()));
    let keys = if data_keys == 0 {
        dash()
    } else {
        format!("{:.0}", measured.rate() * f64::from(data_keys))
    };
    println!(
        "{name:<22} {setting:>6} {:>9.0} {:>8} {:>8} {:>8} {:>9.1} {:>5.0}% {:>5.0}% {rates:>7} \
         {costs:>6} {keys:>11}",
        measured.rate(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        measured.cpu_us_per_call(),
        measured.cpu_share() * 100.0,
        measured.load_share() * 100.0,
    );
}

/// Prints where the server's CPU time of a call went, by thread.
pub(crate) fn threads(name: &str, setting: &str, measured: &Measured) {
    let mut threads = measured.cpu_ns.clone();
    threads.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let calls = measured.calls().max(1) as f64;
    let used = |ns: u64| ns as f64 / 1000.0 / calls;
    let shown: Vec<String> = threads
        .iter()
        .filter(|(_, ns)| used(*ns) >= 0.05)
        .map(|(thread, ns)| format!("{thread} {:.1}", used(*ns)))
        .collect();
    println!("{name:<22} {setting:>6}  {}", shown.join(", "));
}
