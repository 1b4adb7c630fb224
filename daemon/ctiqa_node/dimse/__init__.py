"""DIMSE: the Storage and Verification SCP, the Storage SCU, their Presentation Contexts."""
