"""What people are told who change members or follow an invitation; no answer of the API's, so not of its family."""


class MembersError(Exception):
    """It can't be done; the text says why, to a person."""


class MemberNotFound(MembersError):
    """No such member in this account."""


class LastOwner(MembersError):
    """An account is not left without an owner."""


class NotInvited(MembersError):
    """An invitation that is not there, or opens no more."""


class AlreadyMember(MembersError):
    """Who is invited is a member."""


class TooManyInvitations(MembersError):
    """So much mail is not sent for one account, or to one address, within a day."""
