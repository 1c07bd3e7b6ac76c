"""Other formats in and out. Third-party packages are imported where they are used, never with this package."""
