"""What is looked at in a provider's file before anything is rented, without any network."""
