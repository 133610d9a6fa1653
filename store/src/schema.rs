//! The tables, as diesel sees them. `migrations/sqlite` is the truth; a test compares the two.

use diesel::table;

table! { accounts (id) {
    id -> Text, kind -> Text, handle -> Text, handle_key -> Text, password_hash -> Nullable<Text>, roles -> Text,
    balance_micro -> BigInt, created_at -> BigInt,
} }

table! { sessions (id_hash) {
    id_hash -> Text, account_id -> Text, csrf -> Text, created_at -> BigInt, expires_at -> BigInt,
    agent -> Text, last_seen_at -> Nullable<BigInt>,
} }

table! { tokens (id) {
    id -> Text, account_id -> Text, name -> Text, hash -> Text, scopes -> Text, created_at -> BigInt,
    last_used_at -> Nullable<BigInt>, revoked_at -> Nullable<BigInt>, expires_at -> Nullable<BigInt>,
} }

table! { invitations (id) {
    id -> Text, code_hash -> Text, note -> Text, roles -> Text, created_by -> Text, created_at -> BigInt,
    expires_at -> BigInt, used_by -> Nullable<Text>, used_at -> Nullable<BigInt>, revoked_at -> Nullable<BigInt>,
} }

table! { second_factors (account_id) {
    account_id -> Text, secret -> Binary, created_at -> BigInt, confirmed_at -> Nullable<BigInt>,
    last_step -> BigInt, failures -> BigInt, locked_until -> BigInt,
} }

table! { passkeys (id) {
    id -> Text, account_id -> Text, credential_id -> Binary, name -> Text, public_key -> Binary, state -> Binary,
    transports -> Integer, created_at -> BigInt, last_used_at -> Nullable<BigInt>,
} }

table! { recovery_codes (account_id, code_hash) {
    account_id -> Text, code_hash -> Text,
} }

table! { transfers (seq) {
    seq -> BigInt, id -> Text, at -> BigInt, kind -> Text, reference -> Text,
} }

table! { entries (transfer_seq, ordinal) {
    transfer_seq -> BigInt, ordinal -> BigInt, account_id -> Text, amount_micro -> BigInt,
} }

table! { idempotency (account_id, key) {
    account_id -> Text, key -> Text, request_hash -> Text, status -> BigInt, body -> Text, at -> BigInt,
} }

table! { runs (id) {
    id -> Text, name -> Text, kind -> Text, owner_id -> Text, status -> Text, base_model -> Nullable<Text>,
    parameters -> BigInt, tokens -> BigInt, created_at -> BigInt,
} }

table! { checkpoints (run_id, id) {
    run_id -> Text, id -> Text, round -> BigInt, tokens -> BigInt, at -> BigInt, pinned -> Bool,
} }

table! { markets (id) {
    id -> Text, run_id -> Text, claim -> Text, claim_kind -> Text, rubric -> Text, status -> Text, log_odds -> Double,
    opening_log_odds -> Double, liquidity_micro -> BigInt, subsidy_micro -> BigInt, escrow_id -> Text,
    creator_id -> Text, settlement_method -> Text, plan -> Nullable<Text>, probe -> Nullable<Text>, life -> Text,
    closes_at -> BigInt, closes_after_tokens -> Nullable<BigInt>, opened_at -> BigInt, frozen_at -> Nullable<BigInt>,
    frozen_checkpoint -> Nullable<Text>, net_shares_micro -> BigInt, settlement -> Nullable<Double>,
    settled_at -> Nullable<BigInt>, statistics -> Nullable<Text>, interval_low -> Double, interval_high -> Double,
    n_eff -> Double, assessment -> Nullable<Text>, trades -> BigInt, evidence -> BigInt, version -> BigInt,
    outcome_count -> BigInt,
} }

table! { prices (seq) {
    seq -> BigInt, market_id -> Text, at -> BigInt, log_odds -> Double, cause -> Text, reference -> Nullable<Text>,
} }

table! { trades (seq) {
    seq -> BigInt, id -> Text, market_id -> Text, account_id -> Text, at -> BigInt, outcome -> Text,
    yes_micro -> BigInt, no_micro -> BigInt, cost_micro -> BigInt, log_odds_before -> Double,
    log_odds_after -> Double, cause -> Text,
} }

table! { positions (market_id, account_id) {
    market_id -> Text, account_id -> Text, yes_micro -> BigInt, no_micro -> BigInt, cost_micro -> BigInt,
    paid_micro -> Nullable<BigInt>, paid_at -> Nullable<BigInt>,
} }

table! { evidence (id) {
    id -> Text, market_id -> Text, account_id -> Text, kind -> Text, title -> Text, body -> Text, exhibits -> Text,
    content_hash -> Text, stake_micro -> BigInt, fee_micro -> BigInt, status -> Text, shift -> Double,
    log_odds_before -> Nullable<Double>, log_odds_after -> Nullable<Double>, locked_micro -> BigInt,
    yes_micro -> BigInt, no_micro -> BigInt, judgements -> Text, replay -> Nullable<Text>, reason -> Nullable<Text>,
    created_at -> BigInt, judged_at -> Nullable<BigInt>, bond_micro -> BigInt, priority_at -> BigInt,
    priority_id -> Text, commitment_id -> Nullable<Text>, attachments -> Text, held -> Bool,
    released_at -> Nullable<BigInt>, struck_at -> Nullable<BigInt>, oracle_version -> Nullable<Text>,
} }

table! { settled_cases (number) {
    number -> BigInt, market_id -> Text, claim_kind -> Text, at -> BigInt, record -> Text, hash -> Text,
    learned -> Nullable<Double>, untaught -> Nullable<Double>,
} }

table! { oracle_versions (number) {
    number -> BigInt, id -> Text, origin -> Text, content -> Text, report -> Nullable<Text>, cases -> BigInt,
    created_at -> BigInt, created_by -> Nullable<Text>, status -> Text, adopted_at -> Nullable<BigInt>,
    adopted_by -> Nullable<Text>,
} }

table! { oracle_weights (hash) {
    hash -> Text, judge -> Text, data -> Binary, created_at -> BigInt,
} }

table! { commitments (id) {
    id -> Text, market_id -> Text, account_id -> Text, commitment -> Text, bond_micro -> BigInt, status -> Text,
    created_at -> BigInt, reveal_by -> BigInt, evidence_id -> Nullable<Text>,
} }

table! { fingerprints (evidence_id) { evidence_id -> Text, market_id -> Text, data -> Binary, } }

table! { exhibit_challenges (id) {
    id -> Text, evidence_id -> Text, market_id -> Text, account_id -> Text, reason -> Text, bond_micro -> BigInt,
    status -> Text, decided_by -> Nullable<Text>, panel_id -> Nullable<Text>, note -> Nullable<Text>,
    burnt_micro -> Nullable<BigInt>, created_at -> BigInt, decided_at -> Nullable<BigInt>,
} }

table! { comments (id) {
    id -> Text, market_id -> Text, evidence_id -> Nullable<Text>, account_id -> Text, body -> Text,
    created_at -> BigInt, deleted_at -> Nullable<BigInt>, deleted_by -> Nullable<Text>,
} }

table! { attachments (hash) {
    hash -> Text, media_type -> Text, size -> BigInt, data -> Binary, created_at -> BigInt,
} }

table! { attachment_owners (account_id, hash) {
    account_id -> Text, hash -> Text, size -> BigInt, created_at -> BigInt,
} }

table! { order_books (market_id) {
    market_id -> Text, best_bid -> Nullable<Double>, best_ask -> Nullable<Double>,
} }

table! { orders (seq) {
    seq -> BigInt, id -> Text, market_id -> Text, account_id -> Text, outcome -> Text, side -> Text,
    limit_probability -> Double, budget_micro -> BigInt, shares_micro -> BigInt, remaining_micro -> BigInt,
    reserved_micro -> BigInt, filled_micro -> BigInt, cost_micro -> BigInt, fees_micro -> BigInt, status -> Text,
    reason -> Nullable<Text>, created_at -> BigInt, expires_at -> Nullable<BigInt>, ended_at -> Nullable<BigInt>,
} }

table! { order_fills (order_id, trade_id) { order_id -> Text, trade_id -> Text, } }

table! { fees (market_id, account_id) {
    market_id -> Text, account_id -> Text, trade_micro -> BigInt, creator_micro -> BigInt,
    returned_at -> Nullable<BigInt>,
} }

table! { inference_reservations (id) {
    id -> Text, account_id -> Text, run_id -> Text, reserved_micro -> BigInt, created_at -> BigInt,
} }

table! { inference_usage (account_id, period, run_id) {
    account_id -> Text, period -> BigInt, run_id -> Text, texts -> BigInt, prompt_tokens -> BigInt,
    completion_tokens -> BigInt, charged_micro -> BigInt,
} }

table! { revenue_periods (version) {
    version -> BigInt, from_at -> BigInt, until_at -> BigInt, revenue_micro -> BigInt, snapshot -> Text,
    closed_at -> BigInt,
} }

table! { standings (account_id) {
    account_id -> Text, markets -> BigInt, hits -> BigInt, trading_micro -> BigInt, evidence_micro -> BigInt,
    total_micro -> BigInt, updated_at -> BigInt,
} }

table! { forecasts (market_id) {
    market_id -> Text, claim_kind -> Text, at -> BigInt, pi -> Double, opening_log_odds -> Double,
    closing_log_odds -> Double, mean_log_odds -> Double, window_ms -> BigInt,
} }

table! { outbox (id) {
    id -> BigInt, at -> BigInt, topic -> Text, kind -> Text, payload -> Text,
} }

table! { log_tiles (tile) { tile -> BigInt, hashes -> Binary, } }

table! { log_places (reference) { reference -> Text, event_id -> BigInt, } }

table! { log_checkpoints (size) { size -> BigInt, note -> Text, at -> BigInt, } }

table! { signing_keys (key_id) {
    key_id -> Text, public_key -> Text, owner_id -> Nullable<Text>, epoch -> BigInt, not_before -> BigInt,
    not_after -> Nullable<BigInt>, statement -> Nullable<Text>,
} }

table! { decision_signatures (decision_id, key_id) {
    decision_id -> Text, key_id -> Text, signature -> Text, at -> BigInt,
} }

table! { webhooks (id) {
    id -> Text, account_id -> Text, url -> Text, topics -> Text, secret -> Text, created_at -> BigInt,
    event_id -> BigInt, failures -> BigInt, failing_since -> Nullable<BigInt>, due_at -> Nullable<BigInt>,
    ended_why -> Nullable<Text>,
} }

table! { webhook_deliveries (seq) {
    seq -> BigInt, webhook_id -> Text, event_id -> BigInt, at -> BigInt, attempt -> BigInt,
    status -> Nullable<BigInt>, error -> Nullable<Text>,
} }

table! { hosted_runs (run_id) {
    run_id -> Text, terms -> Text, wanted -> Text, least_stake_micro -> BigInt, changed_at -> BigInt,
} }

table! { node_stakes (id) {
    id -> Text, run_id -> Text, node_key -> Text, account_id -> Text, stake_micro -> BigInt,
    slashed_micro -> BigInt, status -> Text, created_at -> BigInt, free_at -> Nullable<BigInt>,
    closed_at -> Nullable<BigInt>, ban -> Nullable<Text>,
} }

table! { revenue_shares (id) {
    id -> Text, proposal_id -> Text, period -> Text, account_id -> Text, weight -> BigInt, amount_micro -> BigInt,
    created_at -> BigInt, claimed_at -> Nullable<BigInt>,
} }

table! { jobs (id) {
    id -> BigInt, kind -> Text, key -> Text, payload -> Text, run_at -> BigInt, attempts -> BigInt, status -> Text,
    last_error -> Nullable<Text>, lease_until -> Nullable<BigInt>,
} }

table! { decisions (version) {
    version -> BigInt, decision_id -> Text, target_kind -> Text, target_uid -> Text, workload -> Text, epoch -> BigInt,
    generation -> BigInt, share_bps -> BigInt, action -> Text, created_at -> BigInt, expires_at -> BigInt,
    payload -> Text, envelope -> Text,
} }

table! { decision_heads (target_uid, workload) {
    target_uid -> Text, workload -> Text, version -> BigInt,
} }

table! { acks (seq) {
    seq -> BigInt, decision_id -> Text, scheduler -> Text, phase -> Text, at -> BigInt, observed_generation -> BigInt,
    actual_bps -> Nullable<BigInt>, body -> Text, target_uid -> Text, workload -> Text,
} }

table! { enforcement_reports (target_uid, workload, scheduler) {
    target_uid -> Text, workload -> Text, scheduler -> Text, at -> BigInt, every_s -> BigInt, epoch -> BigInt,
    observed_generation -> BigInt, actual_bps -> BigInt, detail -> Nullable<Text>,
} }

table! { policies (version) {
    version -> BigInt, hash -> Text, toml -> Text, author_id -> Text, created_at -> BigInt, active -> Bool,
    proposal_id -> Nullable<Text>,
} }

table! { control (key) { key -> Text, json -> Text, at -> BigInt, } }

table! { jurors (account_id) {
    account_id -> Text, stake_micro -> BigInt, locked_micro -> BigInt, gold_cases -> BigInt, gold_right -> BigInt,
    seats -> BigInt, coherent -> BigInt, leaving -> Bool, joined_at -> BigInt,
} }

table! { draw_secrets (number) {
    number -> BigInt, commitment -> Text, secret -> Text, created_at -> BigInt, panel_id -> Nullable<Text>,
} }

table! { gold_cases (id) {
    id -> Text, snapshot -> Text, pi -> BigInt, affirms -> Bool, market_id -> Nullable<Text>,
    author_id -> Nullable<Text>, created_at -> BigInt, retired -> Bool,
} }

table! { gold_views (account_id, case_id) { account_id -> Text, case_id -> Text, } }

table! { panels (id) {
    id -> Text, subject -> Text, market_id -> Nullable<Text>, round -> Nullable<BigInt>,
    evidence_id -> Nullable<Text>, challenge_id -> Nullable<Text>, case_id -> Nullable<Text>, snapshot -> Text,
    shown_size -> BigInt, status -> Text, pi -> Nullable<BigInt>, drawn_at -> BigInt, commit_by -> BigInt,
    reveal_by -> BigInt, reveal_ms -> BigInt, ended_at -> Nullable<BigInt>, settled_at -> Nullable<BigInt>,
    final_pi -> Nullable<BigInt>, public_seed -> Text, secret_number -> Nullable<BigInt>, candidates -> Text,
    listed -> Bool,
} }

table! { panel_seats (panel_id, account_id) {
    panel_id -> Text, account_id -> Text, ordinal -> BigInt, deposit_micro -> BigInt, state -> Text,
    commitment -> Nullable<Text>, committed_at -> Nullable<BigInt>, vote_bps -> Nullable<BigInt>,
    nonce -> Nullable<Text>, justification -> Nullable<Text>, revealed_at -> Nullable<BigInt>,
    denounced_by -> Nullable<Text>, verdict -> Nullable<Text>, paid_micro -> BigInt, slashed_micro -> BigInt,
} }

table! { market_outcomes (market_id, ordinal) {
    market_id -> Text, ordinal -> BigInt, name -> Text, opening_price -> Double, shares_micro -> BigInt,
    pi_billionths -> Nullable<BigInt>,
} }

table! { outcome_holdings (market_id, account_id, ordinal) {
    market_id -> Text, account_id -> Text, ordinal -> BigInt, shares_micro -> BigInt,
} }

table! { outcome_trades (seq) {
    seq -> BigInt, id -> Text, market_id -> Text, account_id -> Text, at -> BigInt, ordinal -> BigInt,
    shares_micro -> BigInt, sets_micro -> BigInt, cost_micro -> BigInt, price_before -> Double, price_after -> Double,
    prices -> Text,
} }

diesel::allow_tables_to_appear_in_same_query!(transfers, entries);
diesel::allow_tables_to_appear_in_same_query!(mail_items, notices);
diesel::allow_tables_to_appear_in_same_query!(decisions, decision_heads);

table! { settlement_cases (market_id) {
    market_id -> Text, terms -> Text, due_at -> Nullable<BigInt>, closing -> Nullable<Text>, frozen -> Nullable<Text>,
    void_reason -> Nullable<Text>,
} }

table! { settlement_seeds (market_id) { market_id -> Text, seed -> Text, } }

table! { settlement_claims (market_id, round) {
    market_id -> Text, round -> BigInt, kind -> Text, source -> Text, account_id -> Nullable<Text>,
    pi_billionths -> Nullable<BigInt>, bond_micro -> BigInt, paid_micro -> Nullable<BigInt>,
    disputes -> Nullable<BigInt>, jurors -> Nullable<BigInt>, panel_id -> Nullable<Text>, reason -> Text, at -> BigInt,
} }

table! { frozen_exhibits (market_id, ordinal) {
    market_id -> Text, ordinal -> BigInt, evidence_id -> Text, content_hash -> Text,
} }

table! { stakes (account_id) {
    account_id -> Text, stake_micro -> BigInt, earned_micro -> BigInt, locked_until -> BigInt, changed_at -> BigInt,
} }

table! { delegations (account_id, track) {
    account_id -> Text, track -> Text, delegate_id -> Text, conviction -> BigInt, since -> BigInt,
} }

table! { proposals (id) {
    id -> Text, track -> Text, title -> Text, body -> Text, author_id -> Text, action -> Text,
    subject -> Nullable<Text>, terms -> Text, state -> Text, machine -> Text, due_at -> Nullable<BigInt>,
    tally -> Text, simulated -> Text, outcome -> Nullable<Text>, created_at -> BigInt,
    voting_at -> Nullable<BigInt>, ended_at -> Nullable<BigInt>,
} }

table! { proposal_deposits (proposal_id, account_id) {
    proposal_id -> Text, account_id -> Text, amount_micro -> BigInt, status -> Text,
} }

table! { proposal_electors (proposal_id, account_id) {
    proposal_id -> Text, account_id -> Text, stake_micro -> BigInt, delegate_id -> Nullable<Text>,
    conviction -> BigInt,
} }

table! { proposal_votes (proposal_id, account_id) {
    proposal_id -> Text, account_id -> Text, side -> Text, conviction -> BigInt, at -> BigInt,
} }

table! { proposal_steps (proposal_id, ordinal) {
    proposal_id -> Text, ordinal -> BigInt, state -> Text, note -> Text, at -> BigInt,
} }

table! { seals (id) {
    id -> Text, proposal_id -> Text, title -> Text, seal -> Text, created_at -> BigInt, expires_at -> BigInt,
    used_at -> Nullable<BigInt>, order_id -> Nullable<Text>, vote_id -> Nullable<Text>,
} }

table! { standing_orders (id) {
    id -> Text, run_id -> Text, source_kind -> Text, source_id -> Text, effect -> Text, from_at -> BigInt,
    until_at -> BigInt, before_bps -> Nullable<BigInt>, created_at -> BigInt,
} }

table! { policy_inputs (seq) {
    seq -> BigInt, at -> BigInt, run_id -> Text, decision_id -> Nullable<Text>, entry -> Text,
} }

table! { follows (account_id, topic) {
    account_id -> Text, topic -> Text, since -> BigInt, how -> Text, told -> Nullable<Double>,
} }

table! { notices (seq) {
    seq -> BigInt, account_id -> Text, source -> Text, kind -> Text, title -> Text, body -> Text, link -> Text,
    at -> BigInt, listed -> Bool, read_at -> Nullable<BigInt>,
} }

table! { notice_choices (account_id, kind, channel) {
    account_id -> Text, kind -> Text, channel -> Text, wanted -> Bool,
} }

table! { mail_addresses (account_id) {
    account_id -> Text, address -> Text, pace -> Text, verified_at -> Nullable<BigInt>, code -> Nullable<Text>,
    code_until -> BigInt, guesses -> BigInt, coded_at -> BigInt, unsubscribe_key -> Binary,
} }

table! { mail_items (account_id, notice_seq) {
    account_id -> Text, notice_seq -> BigInt,
} }

table! { mails (account_id, sort) {
    account_id -> Text, sort -> Text, due_at -> BigInt, attempts -> BigInt, last_error -> Nullable<Text>,
} }
