//! The words that every part of Cutover uses: ids, versions, orders, outcomes, findings, plans, facts.
