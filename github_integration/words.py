"""How casts speak of GitHub."""

from __future__ import annotations

from casts.runtime import Words

WORDS = Words(
    name="GitHub",
    sent="Sent to GitHub; waiting for a runner.",
    waiting_for_turn="Waiting its turn: GitHub limits how fast runs may be started. It comes at {at} UTC.",
    refused="GitHub refused to start the run: {why}",
    answer_lost="GitHub's answer was lost; looking for the run it may have started.",
    waiting_for_approval="Waiting for an approval on GitHub.",
    running="Running on GitHub.",
    corrected="GitHub's answer named the cast's run; what another run with its tag had told is dropped.",
    cancelling="Asked GitHub to cancel the run.",
    forcing="Forcing GitHub to cancel the run.",
    no_run_appeared="GitHub accepted the dispatch, but no run with {run_tag} in its title appeared, by which alone it "
    "could be found. Does a workflow on the default branch start by this, with the tag in its run-name?",
    lost="GitHub's answer to the dispatch was lost, and no run that belongs to this cast was found.",
    deleted="The run no longer exists on GitHub; somebody deleted it.",
    gone="The run has ended and no longer exists on GitHub; what it left can't be had.",
    jobs_outstanding="GitHub says that the run has ended, and not yet what became of its jobs",
    ended_as="The run ended as {conclusion} on GitHub.",
    never_ran="GitHub ended the run before any step of it had begun.",
    own_limit="It ran longer than its workflow allows, and GitHub ended it.",
    cancelled="The run was cancelled on GitHub.",
    without_run={
        "waiting_for_github": "GitHub can't be asked at the moment; trying again.",
        "rate_limited": "GitHub's rate limit is reached; waiting for it to end.",
        "installation_suspended": "This service's access to GitHub is suspended; waiting for that to end.",
        "installation_removed": "GitHub does not know this service's access to the workflow any more.",
        "github_not_configured": "This service's access to GitHub is not set up right; its operator must see to that.",
        "dispatch_refused": "GitHub refused to start the run; the operator can see why.",
        "never_ran": "GitHub ended the run before any step of it had begun; the operator can see why.",
        "cancelled_on_github": "The run was cancelled on GitHub.",
        **{
            word: f"The run ended as {word} on GitHub."
            for word in ("startup_failure", "action_required", "stale", "skipped")
        },
    },
    artifact_gone="It is no longer on GitHub.",
    artifact_pending="Artifact {name!r} is still being copied from GitHub.",
    copying="still being copied from GitHub",
    not_copied="could not be copied from GitHub",
    open_run="Open the run on GitHub",
    remedies={
        "rate_limited": "GitHub's rate limit is reached. They go on by themselves when it ends. Whatever else uses the "
        "same installation or token shares the limit.",
        "installation_suspended": "The installation's owner must end the suspension on GitHub. Then they go on by "
        "themselves within a minute.",
        "installation_removed": "Install the App again, or fix the installation id of the spell or in "
        "GITHUB_APP_INSTALLATION_ID; otherwise they soon fail and cost nothing.",
        "github_not_configured": "Fix the credentials that the message names, and restart the workers.",
        "waiting_for_github": "GitHub does not answer, or answers with errors: see githubstatus.com, and whether the "
        "workers reach it. They go on by themselves.",
        "confirming_dispatch": "GitHub's answer to the dispatch was lost, and its run is looked for. They settle by "
        "themselves, once GitHub answers.",
    },
    no_runner="GitHub has taken them and found no runner yet. Are self-hosted runners online, do the labels in "
    "“runs-on” exist, has a concurrency group or the plan's limit on jobs been reached?",
    refused_every_time="Nothing was charged. “manage.py doctor --spell {spell}” says what is wrong with its "
    "repository, workflow file, trigger or permissions. Set that right, or switch the spell off. It leaves this page "
    "when GitHub accepts the next one.",
    artifact_failed="GitHub keeps artifacts for 90 days, unless the workflow says otherwise.",
    artifact_trouble="GitHub or the storage has trouble.",
    own_steps=frozenset(
        ("Set up job", "Set up runner", "Complete job", "Complete runner", "Initialize containers", "Stop containers")
    ),
    beside_a_step=("Pre ", "Post "),
)
