open(my $f, "<", $ENV{VALUE}) or die;
my $value = <$f>;
sub { [200, ["Content-Type" => "text/plain"], ["notified $value\n"]] };
