//! What happens by itself is counted by what triggered it, and what waits is shown with its cause.

use bulla::custody::Budget;
use bulla::keys::RotationPeriod;
use bulla::metrics::Readings;

use super::{DAY, HOUR, Program, SECOND, START, Site};
use crate::openmetrics::Page;

fn page(program: &Program) -> Page {
    Page::parse(&program.desk.office().metrics.page(Readings::default()).unwrap())
}

fn rotations(page: &Page, trigger: &str) -> f64 {
    page.value(&format!("bulla_rotations_total{{trigger=\"{trigger}\",outcome=\"succeeded\"}}"))
}

#[tokio::test]
async fn a_key_that_rotates_by_its_period_moves_the_counter_of_periods_by_one_each_time() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let hourly = RotationPeriod::from_ms(HOUR as u64).unwrap();
    let key = program.create_key(hourly, None).await;
    program.create_key(RotationPeriod::NEVER, Some(START + 3 * HOUR)).await;
    program.scheduler.look().await.unwrap();
    for (hours, by_date) in [(1.0, 0.0), (2.0, 0.0), (3.0, 1.0)] {
        site.pass(&[&program], HOUR);
        program.settle().await;
        let page = page(&program);
        assert_eq!((rotations(&page, "period"), rotations(&page, "date")), (hours, by_date));
        assert_eq!(page.value("bulla_scheduler_due{work=\"rotation\"}"), 0.0);
    }
    program.rotate(key).await.unwrap();
    assert_eq!(rotations(&page(&program), "manual"), 1.0);
    assert_eq!(program.desk.office().metrics.scheduler().rotations, 4);
    program.schedule_destroy(key, 1).await;
    assert_eq!(page(&program).value("bulla_version_steps_total{step=\"destroyed\"}"), 0.0);
    for _ in 0..8 {
        site.pass(&[&program], DAY);
        program.settle().await;
    }
    assert_eq!(page(&program).value("bulla_version_steps_total{step=\"destroyed\"}"), 1.0);
}

#[tokio::test]
async fn what_is_deferred_is_shown_with_its_cause_by_who_holds_the_lease_alone() {
    let site = Site::new().await;
    let few = Budget { rotations_per_hour_max: 3, destructions_per_hour_max: 1 };
    let mut program = site.program_with(few).await;
    for _ in 0..5 {
        program.create_key(RotationPeriod::NEVER, Some(START + SECOND)).await;
    }
    program.scheduler.look().await.unwrap();
    site.pass(&[&program], SECOND);
    program.settle().await;
    let shown = page(&program);
    assert_eq!(rotations(&shown, "date"), 3.0);
    assert_eq!(shown.value("bulla_scheduler_due{work=\"rotation\"}"), 2.0);
    assert_eq!(shown.value("bulla_scheduler_deferred{cause=\"budget\"}"), 2.0);
    assert_eq!(shown.value("bulla_scheduler_lease"), 1.0);
    let reading = program.desk.office().metrics.scheduler();
    assert_eq!((reading.holds_lease, reading.due, reading.deferred), (true, 2, 2));

    // Another server that stands beside it, and does not follow what is prepared in the next hour.
    let mut other = site.program_with(few).await;
    other.scheduler.look().await.unwrap();
    let beside = page(&other);
    assert_eq!(beside.value("bulla_scheduler_lease"), 0.0);
    assert_eq!(beside.value("bulla_scheduler_due{work=\"rotation\"}"), 0.0);
    assert_eq!(beside.value("bulla_scheduler_turns_total{outcome=\"not_held\"}"), 1.0);
    for _ in 0..360 {
        site.pass(&[&program, &other], 10 * SECOND);
        program.scheduler.look().await.unwrap();
        other.scheduler.look().await.unwrap();
    }
    let shown = page(&program);
    assert_eq!(rotations(&shown, "date"), 3.0);
    assert_eq!(shown.value("bulla_scheduler_deferred{cause=\"budget\"}"), 0.0);
    assert_eq!(shown.value("bulla_scheduler_deferred{cause=\"server_behind\"}"), 2.0);
    assert_eq!(shown.value("bulla_version_steps_total{step=\"prepared\"}"), 5.0);
}
