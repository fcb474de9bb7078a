use proptest::prelude::*;
use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::event::{Created, Event, EventBody, ModelCall};
use crate::pricing::Tokens;
use crate::{Actor, CallId, Channel, Command, DecideCtx, ExecutionId, Limits, SessionId, UserId};

/// 2024-02-29 23:59:59.999 UTC: the last moment of a day and of a month.
const LEAP_END: UnixMs = 1_709_251_199_999;

fn execution(budget_usd: Option<f64>, rehearsal: bool) -> Execution {
    let owner = Actor { user: Some(UserId(Uuid::from_u128(7))), name: "Ada".into(), channel: Channel::Api };
    let definition = AgentDef { limits: Limits { budget_usd, ..Limits::default() }, ..AgentDef::builtin() };
    let created = Created {
        agent: "scribe".into(),
        definition,
        title: "t".into(),
        owner,
        session: SessionId(Uuid::from_u128(2)),
        inputs: BTreeMap::new(),
        rehearsal,
        forked_from: None,
        release: None,
    };
    let body = EventBody::ExecutionCreated(Box::new(created));
    let id = ExecutionId(Uuid::from_u128(1));
    Execution::from_first(&Event { execution: id, seq: 1, at: 0, incarnation: None, worker_seq: None, body })
        .expect("a first event")
}

fn apply(execution: &mut Execution, body: EventBody) {
    let seq = execution.seq + 1;
    execution.evolve(&Event {
        execution: execution.id,
        seq,
        at: 0,
        incarnation: None,
        worker_seq: None,
        body,
    });
}

fn spend(execution: &mut Execution, cost_micros: u64) {
    let call = ModelCall {
        call: CallId(Uuid::from_u128(3)),
        model: "m".into(),
        status: 200,
        tokens: Tokens::default(),
        cost_micros,
        replayed: false,
        incomplete: false,
        estimated: false,
    };
    apply(execution, EventBody::ModelCall(call));
}

fn warnings(execution: &Execution, budgets: Vec<BudgetUse>) -> Vec<EventBody> {
    let mut fresh = || Uuid::nil();
    let mut ctx = DecideCtx { now: 0, fresh_id: &mut fresh };
    execution.decide(Command::BudgetsUsed(budgets), &mut ctx).expect("never refused")
}

/// Every budget is 100.
fn all_budgets() -> Budgets {
    let limits = Limits {
        budget_per_day_usd: Some(0.000_1),
        budget_per_month_usd: Some(0.000_1),
        ..Limits::default()
    };
    let agents = BTreeMap::from([("scribe".to_owned(), AgentDef { limits, ..AgentDef::builtin() })]);
    Budgets::new(&agents, PerSpan::of_usd(Some(0.000_1), Some(0.000_1)))
}

#[test]
fn periods_are_days_and_months_of_utc() {
    assert_eq!(Span::Day.ends_at(LEAP_END), Some(LEAP_END + 1));
    assert_eq!(Span::Month.ends_at(LEAP_END), Some(LEAP_END + 1));
    assert_eq!(Span::Day.first_day(LEAP_END), Span::Month.first_day(LEAP_END) + 28);
    assert_eq!(Span::Month.first_day(LEAP_END + 1), day_of(LEAP_END) + 1);
    assert_eq!(Span::Whole.ends_at(LEAP_END), None);
}

#[rstest]
#[case::fits(60, 0, 40, true)]
#[case::spent(60, 0, 41, false)]
#[case::set_aside(50, 10, 41, false)]
fn a_call_must_fit_into_every_budget(
    #[case] spent: u64,
    #[case] aside: u64,
    #[case] call: u64,
    #[case] fits: bool,
) {
    let alone = |whose, span| {
        let mut sums = [Sums::default(), Sums::default()];
        for (sum, micros) in sums.iter_mut().zip([spent, aside]) {
            match (whose, span) {
                (Whose::Agent, Span::Day) => sum.agent.day = micros,
                (Whose::Agent, _) => sum.agent.month = micros,
                (Whose::Person, Span::Day) => sum.person.day = micros,
                (Whose::Person, _) => sum.person.month = micros,
                (Whose::Conversation, _) => sum.conversation = micros,
            }
        }
        sums
    };
    let shared = [Whose::Agent, Whose::Person].map(|whose| [(whose, Span::Day), (whose, Span::Month)]);
    let own = (Whose::Conversation, Span::Whole);
    for (whose, span) in shared.into_iter().flatten().chain([own]) {
        let mut execution = execution(Some(0.000_1), false);
        if whose == Whose::Conversation {
            spend(&mut execution, spent);
        }
        let [spent, aside] = alone(whose, span);
        let budgets = all_budgets().of(&execution, &spent, LEAP_END);
        let outcome = Execution::affords(call, &budgets, &aside);
        assert_eq!(outcome.is_ok(), fits, "{whose:?} {span:?}: {outcome:?}");
        if let Err(Refusal::OverBudget { used, .. }) = outcome {
            assert_eq!((used.whose, used.span), (whose, span));
        }
    }
}

#[test]
fn a_script_costs_nothing_and_nobody_has_no_budget() {
    let rehearsed = execution(Some(0.0), true);
    assert_eq!(all_budgets().of(&rehearsed, &Sums::default(), 0), []);
    assert!(!all_budgets().bound(&rehearsed));
    let mut ours = execution(None, false);
    assert!(!Budgets::default().bound(&ours));
    assert!(all_budgets().bound(&ours));
    ours.owner.user = None;
    ours.agent = "other".into();
    assert!(!all_budgets().bound(&ours), "no agent's and no person's");
}

#[test]
fn a_warning_comes_once_for_each_budget_and_period() {
    let mut execution = execution(Some(0.000_1), false);
    spend(&mut execution, 79);
    let at = |spent: u64, now| {
        let spent = Sums { agent: PerSpan { day: spent, month: 79 }, ..Sums::default() };
        move |execution: &Execution| warnings(execution, all_budgets().of(execution, &spent, now))
    };
    assert_eq!(at(79, 0)(&execution), []);
    let first = at(80, 0)(&execution);
    let [EventBody::BudgetWarning(used)] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((used.whose, used.span, used.spent_micros), (Whose::Agent, Span::Day, 80));
    apply(&mut execution, first[0].clone());
    assert_eq!(at(99, DAY_MS - 1)(&execution), [], "the same day");
    assert_eq!(at(99, DAY_MS)(&execution).len(), 1, "the next day");
    spend(&mut execution, 1);
    let own = at(0, 0)(&execution);
    assert!(matches!(own.as_slice(), [EventBody::BudgetWarning(used)] if used.whose == Whose::Conversation));
}

proptest! {
    /// Whatever is affordable stays within every budget, and whatever is not does not.
    #[test]
    fn affordable_is_what_fits(spent in 0..200_u64, aside in 0..200_u64, call in 0..200_u64, day in 0..40_000_i64) {
        let execution = execution(None, false);
        let per = PerSpan { day: spent, month: spent };
        let sums = Sums { agent: per, person: per, conversation: 0 };
        let per = PerSpan { day: aside, month: aside };
        let set_aside = Sums { agent: per, person: per, conversation: 0 };
        let budgets = all_budgets().of(&execution, &sums, day * DAY_MS);
        prop_assert_eq!(Execution::affords(call, &budgets, &set_aside).is_ok(), spent + aside + call <= 100);
    }

    /// Each moment is in exactly one day and one month, and they end after it.
    #[test]
    fn periods_hold_their_moments(at in -1_000_000_000_000..4_000_000_000_000_i64) {
        for span in [Span::Day, Span::Month] {
            let (first, end) = (span.first_day(at), span.ends_at(at).expect("it ends"));
            prop_assert!(first * DAY_MS <= at && at < end);
            prop_assert_eq!(span.first_day(end - 1), first);
            prop_assert!(span.first_day(end) > first);
        }
    }
}
