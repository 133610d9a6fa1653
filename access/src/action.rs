//! The actions of the schema, by name.

macro_rules! actions {
    ($($(#[$doc:meta])* [$($name:ident)*])*) => {
        /// Something that may be permitted: one name for each action of the schema.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the schema says what each is about, and their names what they are")]
        pub enum Action { $($($name,)*)* }

        impl Action {
            /// All of them, in the order of the schema.
            pub const ALL: &'static [Action] = &[$($(Action::$name,)*)*];

            /// The name in policy and schema.
            pub fn as_str(self) -> &'static str {
                match self { $($(Action::$name => stringify!($name),)*)* }
            }
        }
    };
}

actions! {
    // The groups that can be asked for themselves: whether a credential may do anything of the kind.
    [Open Own Secure Read Trade Evidence Govern Schedule Node Admin]
    [ReadHealth FetchFile ReadReference SignIn SignOut SetUp ChooseTheme MissPage SignUp]
    [ReadOwnAccount ListTokens CreateToken RevokeToken ListWebhooks CreateWebhook DeleteWebhook]
    [Follow ReadNotices ManageNotices ManageMail Unsubscribe]
    [ListSessions RevokeSession ChangePassword ManageSecondFactor ManagePasskeys ExportAccount CloseAccount]
    [ReadDashboard FollowEvents ReadMetrics]
    [ListRuns ReadRun ListCheckpoints]
    [ListMarkets ReadMarket ReadPrices ListTrades ListPositions ReadBook ReadManipulation AuditMarket ReadSettlement]
    [ReadLeaderboard ReadCalibration ReadLedger ReadLog]
    [ListEvidence ReadEvidence ReadEvidenceFee ListCommitments ListDisputes ReadInclusion ReadAttachment ListComments]
    [ListJurors ListPanels ReadPanel ListDraws]
    [ListProposals ReadProposal ListVotes ListTracks ListStandingOrders ListSeals ReadSeal]
    [ReadPolicy ListPolicyVersions AssumePrice]
    [ListAllocations ReadDecision ListDecisions ReadKeys ReadEnforcement]
    [ReadOracle ListJudges ListCases ListVersions ReadVersion]
    [ReadTraining ListRounds ListNodes ListContributions ListBans ReadSwarm ListNodeStakes]
    [ListModels AskModel ReadStatement ReadPortfolio ListOwnOrders]
    [Quote PlaceTrade PlaceOrder CancelOrder ClaimRevenue FreezeMarket ProposeSettlement ChallengeSettlement]
    [DisputeExhibit WriteComment RemoveComment]
    [SubmitEvidence CommitEvidence AttachFile]
    [CreateProposal PreviewProposal WithdrawProposal FundProposal CastVote ExecuteProposal]
    [ReadOwnStake ChangeStake WithdrawStake Delegate EndDelegation SimulatePolicy UseSeal]
    [RegisterKey VouchForKey Cosign RetireKey]
    [JoinJury LeaveJury CommitVote RevealVote DenounceJuror]
    [RegisterRun RegisterCheckpoint Acknowledge]
    [ReadTicket BondNode ReleaseNode]
    [StartTraining StopTraining]
    [OpenMarket VoidMarket GrantRole RevokeRole ListGoldCases CreateGoldCase RetireGoldCase]
    [RegisterVersion AdoptVersion Invite ListInvitations RevokeInvitation ListJobs ReadOperations]
    // Of jobs alone.
    [ExpireCommitments AdvanceMarkets AdvancePanels ExpireOrders AdvanceProposals EvaluatePolicy FollowTraining KeepCheckpoint TidyUp]
    [JudgeExhibits DecideDispute ReassessMarket SettleMarket PayMarket ReleaseMarket ConveneGoldPanel]
    [MatchOrders CloseOrders LearnOracle]
}
