"""From files on the internet to one array a data set."""
