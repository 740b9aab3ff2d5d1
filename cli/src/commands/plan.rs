//! `plan` and `approve`.

use crate::Context;
use crate::args::{ApproveArgs, PlanArgs};
use crate::exit::Exit;
use crate::render::losses::{self, Rows};
use crate::render::next::Next;
use crate::render::page::Page;
use crate::render::plan as page;
use crate::trouble::Trouble;
use cutover_vocabulary::plan::{Approval, Plan};

/// Makes a plan and shows it.
///
/// # Errors
/// [`Trouble`].
pub async fn plan(context: &Context, args: PlanArgs) -> Result<Exit, Trouble> {
    let plan = context.client().await?.plan(&args.deployment, &args.to, &args.how.how()).await?;
    show(context, &plan, Some(&context.next), Rows::Listed)?;
    Ok(Exit::of_plan(&plan))
}

/// Shows a plan; with `next` also what to type. `rows`: whether the rows that would be lost are written out.
///
/// # Errors
/// [`Trouble`].
pub fn show(context: &Context, plan: &Plan, next: Option<&Next>, rows: Rows) -> Result<(), Trouble> {
    context.screen.page(&page::page(plan, next, rows, context.screen.ink));
    context.screen.value(&serde_json::json!({ "digest": plan.digest(), "plan": plan }))
}

/// Agrees to a plan, and says to what.
///
/// # Errors
/// [`Trouble`].
pub async fn approve(context: &Context, args: ApproveArgs) -> Result<Exit, Trouble> {
    let client = context.client().await?;
    let plan = client.get_plan(&args.plan).await?;
    let approval = client.approve(plan.digest(), &args.reason, &args.answers.by_question()).await?;
    show_approval(context, &plan, &approval, Rows::Listed)?;
    let mut page = Page::new(context.screen.ink);
    page.heading("Next");
    let open: Vec<_> = plan.binding.questions.keys().filter(|id| !approval.answers.contains_key(*id)).collect();
    if open.is_empty() {
        page.command(4, &context.next.start(plan.digest()));
    } else {
        page.paragraph(2, "It starts only once every question is answered:");
        let answers: String = open.iter().map(|id| format!(" --answer '{id}=WHAT WAS SEEN TO'")).collect();
        page.command(4, &format!("{}{answers}", context.next.approve(plan.digest())));
    }
    context.screen.page(&page.finish());
    Ok(Exit::Done)
}

/// Shows to what a person agreed; `rows`: row by row, or with the number of rows.
///
/// # Errors
/// [`Trouble`].
pub fn show_approval(context: &Context, plan: &Plan, approval: &Approval, rows: Rows) -> Result<(), Trouble> {
    let mut page = Page::new(context.screen.ink);
    page.raw("");
    page.heading(&format!("{} approved plan {}", approval.by, approval.plan.0.short()));
    if !approval.reason.is_empty() {
        page.entry(2, 8, "Why", &approval.reason);
    }
    for finding in &approval.findings {
        page.item(2, format_args!("{}, {}", finding.code, finding.subject));
    }
    for (id, answer) in &approval.answers {
        page.entry(2, 8, &id.to_string(), answer);
    }
    for (id, question) in plan.binding.questions.iter().filter(|(id, _)| !approval.answers.contains_key(*id)) {
        page.item(2, format_args!("not answered yet, {id}: {question}"));
    }
    for (ledger, approved) in &approval.losses {
        match plan.observed.losses(ledger) {
            Some(seen) if seen.sha256 == Some(approved.sha256) => losses::ledger(&mut page, 2, ledger, seen, rows),
            Some(_) | None => page.item(2, format_args!("ledger {ledger}: {} rows", approved.count)),
        }
    }
    context.screen.page(&page.finish());
    context.screen.value(&serde_json::json!({ "approval": approval }))
}
